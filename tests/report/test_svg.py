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


def test_lines_fill_the_chart_and_stay_inside() -> None:
    *grid, low, high = _shapes(svg.lines([("a", [(0, 0), (10, 4)]), ("b", [(5, 9)])], (0, 10, 0, 4), "x"))
    assert len(grid) == 3
    assert low.attrib["points"] == "0.0,200.00 1000.0,0.00"
    assert high.attrib["points"] == "500.0,0.00"
    flat = _shapes(svg.lines([("a", [(1, 2)])], (1, 1, 2, 2), "x"))[-1]
    assert flat.attrib["points"] == "0.0,200.00"


def test_a_change_bar_starts_in_the_middle() -> None:
    up, down = (_shapes(svg.change_bar(value, (-1, 1), 1.0, "ours", "x"))[1].attrib for value in (0.5, -0.25))
    assert (up["x"], up["width"]) == ("500.00", "250.00")
    assert (down["x"], down["width"]) == ("375.00", "125.00")


def test_bands_hold_their_curve_and_stay_inside() -> None:
    points = [(0.25, 0.2, 0.1, 0.3), (0.75, 0.4, 0.3, 2.0)]
    *_grid, band, line, dots = _shapes(svg.bands([("final", points)], 0.4, 0.0, "x"))
    assert band.attrib["d"] == "M250.0 50.00L750.0 0.00L750.0 50.00L250.0 150.00Z"
    assert line.attrib["points"] == "250.0 100.00 750.0 0.00"
    assert dots.attrib["d"].count("h0") == 2
    assert {shape.attrib["class"] for shape in (band, line, dots)} == {"band final", "line final", "dot final"}
