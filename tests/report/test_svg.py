"""Charts are well-formed, in proportion, and say what they show."""

from __future__ import annotations

from xml.etree import ElementTree

from adapt.report import svg


def _shapes(markup: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(markup))


def test_stacked_bar_is_in_proportion() -> None:
    shapes = _shapes(svg.stacked_bar([("a", 3), ("none", 0), ("b", 1)], 'three & "one"'))
    assert [float(shape.attrib["width"]) for shape in shapes] == [750, 250]
    assert float(shapes[1].attrib["x"]) == 750
    assert _shapes(svg.stacked_bar([("a", 0)], "empty")) == []


def test_columns_fill_the_height() -> None:
    heights = [float(shape.attrib["height"]) for shape in _shapes(svg.columns([4, 2, 0], "x"))]
    assert heights == [100, 50, 0]
    assert _shapes(svg.columns([], "x")) == []


def test_interval_bar_stays_inside() -> None:
    track, bar, *_whisker = _shapes(svg.interval_bar(2.0, (-1.0, 3.0), 1.0, "ours", "x"))
    assert float(bar.attrib["width"]) == float(track.attrib["width"]) == 1000
    assert float(_shapes(svg.interval_bar(0.0, None, 0.0, "ours", "x"))[1].attrib["width"]) == 0


def test_the_label_is_escaped() -> None:
    root = ElementTree.fromstring(svg.columns([1], '<b> & "x"'))
    assert root.attrib["aria-label"] == '<b> & "x"'
