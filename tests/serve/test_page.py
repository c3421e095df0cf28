"""A person's way through the page: search, choose, be recommended, compare, add an item and take it out again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.page_cases import (
    Visiting,
    card,
    cards,
    chips,
    column,
    expect,
    figure,
    find,
    give_file,
    info,
    recommended,
    settle,
)

pytest_plugins = ["tests.serve.page_site"]

METHODS = ("few-shot", "zero-shot", "fine-tuned")
LOADED = "images => images.every(image => image.complete && image.naturalWidth > 0)"


def test_search_choose_and_be_recommended(visit: Visiting, site: str) -> None:
    page = visit(site).page
    expect(page.get_by_text("Recommendations appear here")).to_be_visible()
    find(page, "tent")
    assert cards(page)[:2] == ["CAMP-002", "CAMP-001"]
    assert len(cards(page)) == 12
    expect(card(page, "CAMP-001").locator("img")).to_be_visible()
    assert page.locator("#results img").evaluate_all(LOADED)
    expect(card(page, "CAMP-004").locator(".thumb")).to_have_text("S")  # no picture: the initial of its title

    card(page, "CAMP-001").click()
    assert chips(page) == ["CAMP-001"]
    expect(card(page, "CAMP-001").get_by_role("button", pressed=True)).to_be_visible()
    first = {method: column(page, method) for method in METHODS}
    for method in METHODS:
        assert first[method] == recommended(site, method, history=["CAMP-001"])
    assert len({tuple(items) for items in first.values()}) == 3
    expect(page.locator(".reason").filter(has_text="Two-person dome tent in your history").first).to_be_visible()
    expect(page.locator("#announce")).to_contain_text("Recommendations changed: Few-shot 10 items")
    expect(page.locator(".row img").first).to_be_visible()

    find(page, "espresso")
    card(page, "COFF-005").locator("button").first.press("Enter")
    assert chips(page) == ["CAMP-001", "COFF-005"]
    for method in METHODS:
        now = column(page, method)
        assert now == recommended(site, method, history=["CAMP-001", "COFF-005"]) != first[method]
        assert "COFF-005" not in now

    page.get_by_role("button", name="Take Moka pot for six cups out").click()
    assert {method: column(page, method) for method in METHODS} == first
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator(".row")).to_have_count(0)
    expect(page.get_by_text("Recommendations appear here")).to_be_visible()
    assert chips(page) == []


def test_a_recommendation_is_chosen_in_turn(visit: Visiting, site: str) -> None:
    page = visit(site, "/#history=CAMP-001").page
    chosen = column(page, "zero-shot")[0]
    button = page.locator(f'[aria-labelledby="method-zero-shot"] [data-item="{chosen}"] .pick')
    button.focus()
    button.press("Enter")
    expect(page.locator("#history .chip")).to_have_count(2)
    assert chips(page) == ["CAMP-001", chosen]
    assert chosen not in column(page, "zero-shot")
    assert page.evaluate("document.activeElement.closest('.row') !== null")  # the keyboard stays in the list


def test_methods_are_switched_and_the_address_holds_everything(visit: Visiting, site: str) -> None:
    page = visit(site, "/#q=coffee&history=COFF-001,CAMP%2D001").page
    expect(page.locator("section.method:visible")).to_have_count(3)
    expect(page.locator("#history")).to_contain_text("Ceramic coffee dripper")
    tops = [page.locator(f"#method-{method}").bounding_box()["y"] for method in METHODS]
    assert len(set(tops)) == 1  # side by side
    page.get_by_role("checkbox", name="Zero-shot").uncheck()
    page.get_by_role("checkbox", name="Fine-tuned").uncheck()
    expect(page.locator("section.method:visible")).to_have_count(1)
    expect(page.get_by_role("checkbox", name="Few-shot")).to_be_disabled()  # one always stays
    before = (cards(page), chips(page), column(page, "few-shot"))
    page.reload()
    expect(page.locator("section.method:visible")).to_have_count(1)
    expect(page.locator("#results .card:not(.ghost)")).to_have_count(12)
    expect(page.locator("#history")).to_contain_text("Two-person dome tent")
    assert (cards(page), chips(page), column(page, "few-shot")) == before
    expect(page.get_by_role("searchbox")).to_have_value("coffee")


def test_search_with_a_picture(visit: Visiting, site: str, example_shop: Path) -> None:
    page = visit(site, "/#q=tent").page
    expect(card(page, "CAMP-001")).to_be_visible()
    for how, name in (("drop", "COFF-005"), ("paste", "HOME-006"), ("choose", "BIKE-003")):
        picture = example_shop / "images" / f"{name.lower()}.png"
        if how == "choose":
            page.locator("#query-picture").set_input_files(picture)
        else:
            give_file(page, "main", picture, how)
        expect(page.locator("#results .card").first).to_have_attribute("data-item", name)
        expect(page.locator("#asked img")).to_be_visible()
        expect(page.get_by_role("searchbox")).to_have_value("")
    expect(page.locator("#dropping")).to_be_hidden()
    page.get_by_role("button", name="Stop this search").click()
    expect(page.locator("#results .card")).to_have_count(0)


def test_similar_and_more_and_details(visit: Visiting, site: str) -> None:
    page = visit(site, "/#history=COFF-001").page
    settle(page)
    find(page, "bicycle helmet")
    card(page, "BIKE-003").get_by_role("button", name="Similar to Bicycle helmet").click()
    expect(page.locator("#asked")).to_contain_text("Similar to Bicycle helmet")
    expect(page.locator("#asked")).to_be_focused()
    expect(card(page, "BIKE-003")).to_have_count(0)
    similar = httpx.post(f"{site}/v1/similar", json={"item_id": "BIKE-003", "k": 24}).json()["items"]
    assert cards(page) == [item["item_id"] for item in similar[:12]]
    page.get_by_role("button", name="Show more").click()
    expect(page.locator("#results .card:not(.ghost)")).to_have_count(24)
    assert cards(page) == [item["item_id"] for item in similar]
    expect(page.locator("#results .card").nth(12).locator(".pick")).to_be_focused()

    card(page, similar[0]["item_id"]).get_by_role("button", name="Details of").click()
    dialog = page.get_by_role("dialog")
    facts = httpx.get(f"{site}/v1/items/{similar[0]['item_id']}").json()
    expect(dialog).to_contain_text(facts["columns"]["description"])
    dialog.get_by_role("button", name="Add to the history").click()
    expect(page.locator("#history .chip")).to_have_count(2)


def test_a_new_item_is_found_at_once_and_removed_again(
    visit: Visiting, site: str, example_shop: Path, tmp_path: Path
) -> None:
    page = visit(site, "/#history=HOME-004").page
    before = info(site)
    expect(figure(page, "Items")).to_have_text("62")
    expect(figure(page, "Recall")).to_have_text(f"{before['index']['recall_measured']:.3f}")
    page.get_by_role("button", name="Add an item").click()
    page.get_by_role("textbox", name="Id").fill("NEW/1 ö")
    page.get_by_role("textbox", name="Title").fill("Brass oil lamp")
    page.get_by_role("textbox", name="Description").fill("A lamp with a glass chimney and a wick.")
    give_file(page, "#add-drop", example_shop / "images" / "home-004.png")
    expect(page.get_by_alt_text("The picture to be added")).to_be_visible()
    page.get_by_role("button", name="Add to the catalog").click()

    new = card(page, "NEW/1 ö")
    expect(new.locator(".pick")).to_be_focused()
    assert cards(page)[0] == "NEW/1 ö"
    expect(new.locator("img")).to_be_visible()
    expect(page.locator("#notice")).to_contain_text("Brass oil lamp was added and can be found now.")
    expect(page.get_by_role("searchbox")).to_have_value("Brass oil lamp")
    expect(figure(page, "Items")).to_have_text("63")
    expect(figure(page, "Generation")).to_have_text(str(int(before["index"]["generation"]) + 1))
    find(page, "oil lamp with a wick")
    assert cards(page)[0] == "NEW/1 ö"
    assert "NEW/1 ö" in column(page, "zero-shot")  # it looks like the candle of the history

    new.click()
    assert chips(page) == ["HOME-004", "NEW/1 ö"]
    new.get_by_role("button", name="Details of").click()
    page.get_by_role("button", name="Remove from the catalog").click()
    page.get_by_role("button", name="Keep it").click()
    page.get_by_role("button", name="Remove from the catalog").click()
    page.get_by_role("button", name="Remove it", exact=True).click()
    expect(new).to_have_count(0)
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert chips(page) == ["HOME-004"]
    assert "NEW/1 ö" not in column(page, "zero-shot")
    expect(figure(page, "Items")).to_have_text("62")
    assert httpx.get(f"{site}/v1/items/NEW%2F1%20%C3%B6").status_code == 404


def test_an_item_is_replaced_and_the_notice_takes_it_back(visit: Visiting, site: str) -> None:
    page = visit(site).page
    for title, done in (("Walnut chess board", "added"), ("Marble chess board", "replaced")):
        page.get_by_role("button", name="Add an item").click()
        page.get_by_role("textbox", name="Id").fill("NEW-2")
        page.get_by_role("textbox", name="Title").fill(title)
        page.get_by_role("button", name="Add to the catalog").click()
        expect(page.locator("#notice")).to_contain_text(f"{title} was {done}")
        expect(card(page, "NEW-2")).to_contain_text(title)
        expect(card(page, "NEW-2").locator(".thumb")).to_have_text(title[0])
    page.get_by_role("button", name="Remove it again").click()
    expect(card(page, "NEW-2")).to_have_count(0)
    expect(page.locator("#notice")).to_be_hidden()
    assert httpx.get(f"{site}/v1/items/NEW-2").status_code == 404


def test_a_user_of_the_service(visit: Visiting, site: str) -> None:
    page = visit(site).page
    page.get_by_label("Or a user the service knows").fill("anna")
    page.get_by_role("button", name="Load").click()
    expect(page.get_by_role("heading", name="History of anna")).to_be_visible()
    first = column(page, "few-shot")
    assert first == recommended(site, "few-shot", user_id="anna")
    events = info(site)["memory"]["events"]
    page.locator('[aria-labelledby="method-few-shot"] .row .pick').first.click()
    expect(page.locator("#history .chip")).to_have_count(1)
    assert chips(page) == first[:1]
    now = column(page, "few-shot")
    assert now == recommended(site, "few-shot", user_id="anna")
    assert first[0] not in now
    assert info(site)["memory"]["events"] == events + 1
    assert "user=anna" in page.url
    page.get_by_role("button", name="Back to your own").click()
    expect(page.get_by_role("heading", name="Your history")).to_be_focused()
    expect(page.get_by_text("Recommendations appear here")).to_be_visible()


@pytest.fixture
def moved(visit: Visiting, site: str) -> Any:
    """A page that answers of the service are held back or changed for; the browser complains of what fails."""
    return visit(site, failing=True)


def test_problems_stand_beside_their_cause(moved: Any, site: str, tmp_path: Path) -> None:
    page = moved.page
    settle(page)
    page.get_by_label("Or a user the service knows").fill("nobody")
    page.get_by_role("button", name="Load").click()
    expect(page.locator("#user-problem")).to_contain_text("Expected the id of a user with events, found 'nobody'.")
    expect(page.get_by_role("heading", name="Your history")).to_be_visible()

    (tmp_path / "broken.png").write_bytes(b"no picture")
    page.locator("#query-picture").set_input_files(tmp_path / "broken.png")
    expect(page.locator("#search-problem")).to_contain_text("picture")
    (tmp_path / "notes.txt").write_text("words")
    give_file(page, "main", tmp_path / "notes.txt")
    expect(page.locator("#search-problem")).to_contain_text("not a picture")

    page.get_by_role("button", name="Add an item").click()
    page.get_by_role("button", name="Add to the catalog").click()
    expect(page.locator("#add-id-problem")).to_be_visible()
    expect(page.get_by_role("textbox", name="Id")).to_be_focused()
    page.get_by_role("textbox", name="Id").fill("NEW-3")
    page.get_by_role("button", name="Add to the catalog").click()
    expect(page.locator("#add-title-problem")).to_be_visible()
    page.locator("#add-picture").set_input_files(tmp_path / "broken.png")
    page.get_by_role("button", name="Add to the catalog").click()
    expect(page.locator("#add-problem")).to_contain_text("picture")
    page.keyboard.press("Escape")

    page.goto(f"{site}/#history=GONE-1")
    expect(page.locator(".method .problem").first).to_contain_text("GONE-1")
    expect(page.locator("#history")).to_contain_text("is not in the catalog")


def test_a_busy_service_and_one_that_is_gone(moved: Any, site: str) -> None:
    page = moved.page
    busy = {"type": "urn:adapt:problem:busy", "title": "Busy", "status": 503, "detail": "the queue is full"}
    page.route("**/v1/recommend", lambda route: route.fulfill(status=503, json=busy, headers={"Retry-After": "2"}))
    page.route("**/v1/search", lambda route: route.abort())
    page.get_by_role("searchbox").fill("tent")
    expect(page.locator("#search-problem")).to_have_text("The service did not answer. Is it still running?")
    page.goto(f"{site}/#history=CAMP-001")
    problem = page.locator(".method .problem").first
    expect(problem).to_contain_text("The queue is full. Try again in 2 s.")
    page.unroute("**/v1/recommend")
    problem.get_by_role("button", name="Try again").click()
    expect(problem).to_be_hidden()
    assert column(page, "few-shot") == recommended(site, "few-shot", history=["CAMP-001"])


def test_typing_waits_and_newer_requests_win(moved: Any) -> None:
    page, searches, cancelled = moved.page, [], []
    page.on("requestfailed", lambda request: cancelled.append(request.post_data_json["text"]))
    held: list[Any] = []

    def hold(route: Any) -> None:
        text = route.request.post_data_json["text"]
        searches.append(text)
        if text == "bicycle":
            held.append(route)  # never answered
        else:
            route.continue_()

    page.route("**/v1/search", hold)
    box = page.get_by_role("searchbox")
    page.clock.install()
    page.clock.pause_at(2_000_000_000)  # by the page's own time, however busy the machine is
    for letter in "bicycle":
        box.press(letter)
        page.clock.run_for(100)
    assert searches == []
    page.clock.run_for(300)
    expect(page.locator("#results .ghost").first).to_be_visible()
    box.fill("tent")
    page.clock.run_for(300)
    expect(card(page, "CAMP-001")).to_be_visible()
    assert searches == ["bicycle", "tent"]  # nothing for each letter
    assert cancelled == ["bicycle"]
    assert cards(page)[0] == "CAMP-002"
