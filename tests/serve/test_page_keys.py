"""The page of a service with API keys: it asks for one when it is needed and keeps it for the tab alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapt.serve.security import Keys, new_key
from tests.serve.page_cases import Visiting, card, cards, expect, find, served, settle

pytest_plugins = ["tests.serve.page_site"]


@pytest.fixture(scope="module")
def locked(
    example_index: Path, example_shop: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str, str]]:
    """The address of a service with keys, and one that may read and one that may write."""
    (read, first), (write, second) = new_key("read"), new_key("write")
    keys = Keys(read=(first.split()[1],), write=(second.split()[1],))
    with served(example_index, example_shop, tmp_path_factory.mktemp("locked"), keys) as address:
        yield address, read, write


def test_a_key_is_asked_for_when_it_is_needed(visit: Visiting, locked: tuple[str, str, str]) -> None:
    site, read, write = locked
    page = visit(site, "/#history=CAMP-001", failing=True).page
    dialog = page.get_by_role("dialog")
    value = dialog.get_by_label("API key")
    expect(dialog).to_contain_text("This service asks for a key")
    value.fill("wrong")
    value.press("Enter")
    expect(dialog).to_contain_text("not accepted")
    value.fill(read)
    value.press("Enter")
    expect(dialog).to_have_count(0)
    expect(page.locator("#figures")).to_contain_text("62")
    settle(page)
    find(page, "tent")
    expect(card(page, "CAMP-001").locator("img")).to_have_attribute("src", re.compile("^blob:"))  # fetched with the key
    assert read not in page.url

    page.get_by_role("button", name="Add an item").click()
    page.get_by_role("textbox", name="Id").fill("KEY-1")
    page.get_by_role("textbox", name="Title").fill("Copper jam pan")
    page.get_by_role("button", name="Add to the catalog").click()
    expect(page.locator("#key")).to_contain_text("Writing needs a key that may write")
    page.locator("#key").get_by_role("button", name="Cancel").click()
    expect(page.locator("#add-problem")).to_contain_text("a key that may change the index")
    page.get_by_role("button", name="Add to the catalog").click()
    value.fill(write)
    value.press("Enter")
    expect(card(page, "KEY-1").locator(".pick")).to_be_focused()
    assert cards(page)[0] == "KEY-1"

    page.reload()
    expect(page.locator("#figures")).to_contain_text("63")  # the tab has kept it
    assert page.evaluate("[sessionStorage.length, localStorage.length, document.cookie]") == [1, 0, ""]
    page.get_by_role("button", name="Forget the key").click()
    expect(dialog).to_contain_text("This service asks for a key")


def test_without_a_key_nothing_is_shown_and_nobody_is_pressed(visit: Visiting, locked: tuple[str, str, str]) -> None:
    page = visit(locked[0], failing=True).page
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.locator("#service-problem")).to_contain_text("API key")
    expect(page.locator("#figures div")).to_have_count(0)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Enter a key").click()
    expect(page.get_by_role("dialog")).to_be_visible()
