"""The page for everyone: by keyboard, in light and dark, on a telephone and a desk, checked by axe-core."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.page_cases import DESK, PHONE, Visiting, card, cards, chips, column, expect, find, settle

pytest_plugins = ["tests.serve.page_site"]

axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="needs axe-core: `pip install axe-playwright-python`"
)

FILLED = "/#q=tent&history=CAMP-001,COFF-001"
FOCUS = """
() => {
  const element = document.activeElement;
  const drawn = element.closest(".card, .row, .toggle, .pick-picture, .searchbox") ?? element;
  const marks = [element, drawn, drawn.querySelector("span")].filter(Boolean).map((part) => getComputedStyle(part));
  return {
    name: element.getAttribute("aria-label") ?? element.innerText ?? "",
    id: element.id,
    seen: marks.some((style) => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2),
  };
}
"""
WIDE = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"


def press_until(page: Any, wanted: Callable[[dict[str, Any]], bool], key: str = "Tab", most: int = 80) -> None:
    """Press a key until the focus is where it is wanted; it must be seen at every stop."""
    for _ in range(most):
        page.keyboard.press(key)
        focus = page.evaluate(FOCUS)
        assert focus["seen"], f"no visible focus on {focus}"
        if wanted(focus):
            return
    raise AssertionError("the keyboard does not get there")


def test_the_whole_way_by_keyboard_alone(visit: Visiting, site: str) -> None:
    page = visit(site).page
    press = page.keyboard.press
    settle(page)
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUS)["name"] == "Skip to search"
    press("Enter")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("tent")
    expect(page.locator("#results .card:not(.ghost)")).to_have_count(12)
    press_until(page, lambda focus: "Two-person dome tent" in focus["name"], most=10)
    press("Enter")
    assert chips(page) == ["CAMP-001"]
    settle(page)

    page.get_by_role("searchbox").focus()
    press_until(page, lambda focus: focus["name"] == "Skip to recommendations", "Shift+Tab", 8)
    press("Enter")
    expect(page.get_by_role("heading", name="Recommended next")).to_be_focused()
    press_until(page, lambda focus: focus["id"] == "show-zero-shot", most=6)
    press("Space")
    expect(page.locator("section.method:visible")).to_have_count(2)
    press_until(page, lambda focus: focus["name"].startswith("Details of"), most=8)
    press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.evaluate(FOCUS)["name"].startswith("Details of")  # back where it was

    press_until(page, lambda focus: focus["name"] == "Add an item", "Shift+Tab")
    press("Enter")
    expect(page.get_by_role("textbox", name="Id")).to_be_focused()
    page.keyboard.type("KEYS-1")
    press("Tab")
    page.keyboard.type("Slate cheese board")
    press("Enter")
    expect(card(page, "KEYS-1").locator(".pick")).to_be_focused()
    assert page.evaluate(FOCUS)["seen"]
    press("Space")
    assert chips(page) == ["CAMP-001", "KEYS-1"]
    press_until(page, lambda focus: focus["name"] == "Remove it again", "Shift+Tab", 4)
    press("Enter")
    expect(card(page, "KEYS-1")).to_have_count(0)
    assert chips(page) == ["CAMP-001"]
    press_until(page, lambda focus: focus["name"].startswith("Take Two-person dome tent out"))
    press("Enter")
    expect(page.get_by_role("heading", name="Your history")).to_be_focused()
    assert httpx.get(f"{site}/v1/items/KEYS-1").status_code == 404


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit: Visiting, site: str, scheme: str) -> None:
    page = visit(site, scheme=scheme).page
    expect(page.locator("#figures div")).to_have_count(5)
    found = {"empty": axe.Axe().run(page)}
    page.goto(site + FILLED)
    expect(card(page, "CAMP-001")).to_be_visible()
    settle(page)
    found["results"] = axe.Axe().run(page)
    card(page, "CAMP-002").get_by_role("button", name="Details of").click()
    expect(page.get_by_role("dialog")).to_contain_text("standing height")
    found["details"] = axe.Axe().run(page)
    page.get_by_role("button", name="Remove from the catalog").click()
    found["removing"] = axe.Axe().run(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Add an item").click()
    page.get_by_role("button", name="Add to the catalog").click()
    found["adding, with a problem"] = axe.Axe().run(page)
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    found["telephone"] = axe.Axe().run(page)
    assert {state: result.response["violations"] for state, result in found.items() if result.violations_count} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK])
def test_every_size_and_scheme(visit: Visiting, site: str, scheme: str, size: tuple[int, int], tmp_path: Path) -> None:
    page = visit(site, scheme=scheme, size=size).page
    expect(page.locator("#figures div")).to_have_count(5)

    def look(name: str) -> None:
        width, shown = page.evaluate(WIDE)
        assert width <= shown == size[0], name
        page.screenshot(path=tmp_path / f"{name}.png", full_page=True)

    look("empty")
    page.goto(site + FILLED)
    expect(card(page, "CAMP-001").locator("img")).to_be_visible()
    settle(page)
    assert len(cards(page)) == (6 if size == PHONE else 12)
    tops = {round(section.bounding_box()["y"]) for section in page.locator("section.method").all()}
    assert len(tops) == (3 if size == PHONE else 1)  # stacked, or side by side
    look("filled")
    card(page, "CAMP-002").get_by_role("button", name="Details of").click()
    expect(page.get_by_role("dialog")).to_contain_text("standing height")
    look("details")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Add an item").click()
    page.get_by_role("textbox", name="Title").fill("A very long name of one item " * 6)
    look("add")
    page.keyboard.press("Escape")

    red, green, blue = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (red + green + blue > 600) == (scheme == "light")
    assert page.evaluate("document.getAnimations().length") == 0  # less motion was asked for
    if size == PHONE:  # a finger hits it; of a card and a row the whole is the target
        small = "nodes => nodes.filter(node => node.getBoundingClientRect().height < 24).map(node => node.outerHTML)"
        assert page.locator("button:not(.pick):visible, input[type=text]:visible").evaluate_all(small) == []


def test_a_hostile_title_stays_text_and_a_long_one_does_not_widen_the_page(visit: Visiting, site: str) -> None:
    page = visit(site, size=PHONE).page
    hostile = '<img src="x" onerror="window.taken = true"><script>window.taken = true</script>'
    items = [
        {
            "item_id": f"{number}-" + "x" * 120,
            "title": title,
            "rank": 1,
            "score": 1.0,
            "has_picture": False,
            "reason": reason,
        }
        for number, title, reason in ((0, hostile, {"text": hostile}), (1, "W" * 200, {"text": "W" * 200}))
    ]
    answer = {"items": items, "method": "few-shot", "generation": "000001", "unknown_items": []}
    for path in ("search", "recommend"):
        page.route(f"**/v1/{path}", lambda route: route.fulfill(json=answer))
    find(page, "anything")
    page.locator("#results .pick").first.click()
    settle(page)
    for place in (page.locator("#results"), page.locator("#history"), page.locator(".reason").first):
        expect(place).to_contain_text(hostile)
    width, shown = page.evaluate(WIDE)
    assert width <= shown
    assert page.evaluate(
        "[window.taken ?? null, document.querySelectorAll('main script, main img[src=x]').length]"
    ) == [None, 0]


def test_what_changes_is_said(visit: Visiting, site: str) -> None:
    page = visit(site).page
    said = page.locator("#announce")
    find(page, "tent")
    expect(said).to_have_text("12 results.")
    card(page, "CAMP-001").click()
    column(page, "few-shot")
    expect(said).to_contain_text("Recommendations changed")
    landmarks = page.evaluate(
        "[...document.querySelectorAll('main, header, nav, form[role=search]')].map(e => e.localName)"
    )
    assert landmarks == ["header", "main", "form", "nav"]
    assert page.locator("[role=status], [role=alert]").count() >= 5
