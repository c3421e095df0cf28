"""The page of a zero-shot run: self-contained, escaped, accessible, honest."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from adapt.report.recommend import render

from .conftest import CHECK, EXACT, Make

VOID = {"meta", "link", "img", "br", "hr", "input", "rect", "path", "polyline"}
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}</style></title>"


class Page(HTMLParser):
    """Elements with their attributes, in order; checks that they close."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def test_it_asks_for_nothing_from_outside(make: Make) -> None:
    html = render(make())
    page = Page(html)
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name, value)
    assert page.of("script") == []
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(meta["content"] for meta in page.of("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_hostile_text_stays_text(make: Make) -> None:
    html = render(make(text=HOSTILE))
    page = Page(html)
    assert page.of("script") == []
    assert all(not name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert all((image["src"] or "").startswith("data:image/jpeg;base64,") for image in page.of("img"))
    assert len(page.of("style")) == 1
    assert f"title of {HOSTILE}-0" in page.text
    assert "49" not in re.sub(r"0\.\d+", "", page.text)


def test_it_can_be_read_without_seeing_it(make: Make) -> None:
    page = Page(render(make()))
    names = [tag for tag, _ in page.elements]
    assert [names.count(tag) for tag in ("main", "h1", "header", "nav", "footer", "title")] == [1] * 6
    assert page.of("html")[0]["lang"] == "en"
    levels = [int(name[1]) for name in names if re.fullmatch(r"h[1-6]", name)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.of("img")
    assert all(image.get("alt") for image in page.of("img"))
    assert all(drawing.get("aria-label") for drawing in page.of("svg"))
    assert all(header.get("scope") in {"col", "row"} for header in page.of("th"))
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    targets = {(link["href"] or "")[1:] for link in page.of("a")}
    assert targets <= set(identifiers)


def test_it_shows_what_was_found(make: Make) -> None:
    text = Page(render(make())).text
    for expected in (
        "thing-user-0", "title of thing-0", "thing-11", "thing-lost", "interactions.csv:9", "adapt-mini",
        "60 %", "20 %", "10 %", "40 % to 80 %", "65.0 s", "arguments.dataset", "first text",
        "14 November 2023 to 9 March 2024", "Every one of the 12 candidates was compared",
    ):  # fmt: skip
        assert expected in text.replace("\xa0", " "), expected


@pytest.mark.parametrize(
    ("numbers", "tone", "said"),
    [
        ((0.4, 0.6, 0.2), "good", "3.0 times"),
        ((0.4, 0.6, 0.0), "good", "6.0 times"),
        ((0.1, 0.6, 0.2), "mixed", "less than chance"),
        ((0.1, 0.2, 0.2), "poor", "No better"),
    ],
)
def test_the_verdict_follows_from_the_numbers(
    make: Make, numbers: tuple[float, float, float], tone: str, said: str
) -> None:
    low, recall, popular = numbers
    check = dataclasses.replace(CHECK, recall=recall, recall_low=low, popularity_recall=popular)
    page = Page(render(make(self_check=check)))
    assert f"verdict {tone}" in [attributes.get("class") for attributes in page.of("p")]
    assert said in page.text


def test_without_a_self_check_it_says_that_nothing_was_measured(make: Make) -> None:
    result = make()
    bare = dataclasses.replace(result.dataset, interactions=None)
    page = Page(render(dataclasses.replace(result, mode="similar", self_check=None, dataset=bare, notes=())))
    assert "Not measured" in page.text
    assert "Users whose hidden item" not in page.text
    assert "Users by length" not in page.text


def test_the_recall_of_an_approximate_index_is_shown(make: Make) -> None:
    info = dataclasses.replace(EXACT, kind="hnsw", recall_target=0.99, recall_measured=0.9937, recall_queries=1000)
    text = Page(render(make(index=info))).text.replace("\xa0", " ")
    assert "found 99.4 % of the items that an exact search finds (aim 99 %), measured on 1,000 queries" in text
    unmeasured = dataclasses.replace(info, recall_measured=None)
    assert "was not measured" in Page(render(make(index=unmeasured))).text


def test_a_large_result_makes_a_small_page(make: Make) -> None:
    html = render(make(items=3000, users=4000))
    page = Page(html)
    assert len(page.of("article")) == 10
    assert "10 of 4,000 lists" in page.text
    assert len(html) < 1_500_000


def test_pictures_are_bounded_and_broken_ones_become_a_letter(make: Make) -> None:
    result = make()
    result.dataset.catalog.images[0][0].write_bytes(b"not a picture")
    page = Page(render(result))
    assert not any((image["alt"] or "").endswith("thing-0") for image in page.of("img"))
    assert any((item.get("class") or "").startswith("pic t") for item in page.of("span"))


def test_a_short_list_shows_only_what_there_is(make: Make) -> None:
    result = make(users=1)
    page = Page(render(result))
    shown = [item for item in page.of("span") if item.get("class") == "detail score"]
    assert len(shown) == 3
    nothing = dataclasses.replace(result.table, rows=np.full_like(result.table.rows, -1))
    assert "No candidate is left" in Page(render(dataclasses.replace(result, table=nothing))).text


def test_a_catalog_without_pictures_has_no_letter_tiles(make: Make) -> None:
    result = make()
    catalog = dataclasses.replace(result.dataset.catalog, images=((),) * len(result.dataset.catalog))
    page = Page(render(dataclasses.replace(result, dataset=dataclasses.replace(result.dataset, catalog=catalog))))
    assert page.of("img") == []
    assert not any((item.get("class") or "").startswith("pic") for item in page.of("span"))
    assert "title of thing-0" in page.text
