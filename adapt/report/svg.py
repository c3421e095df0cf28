"""Small charts as inline SVG: shapes only, so that they stretch to any width; words and numbers stand beside them."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

_WIDTH = 1000.0


def stacked_bar(parts: Sequence[tuple[str, float]], label: str) -> Markup:
    """One bar divided in proportion to the parts.

    Args:
        parts: the CSS class and the size (at least 0) of each part, from left to right.
        label: what a person who cannot see the chart is told.
    """
    total = sum(size for _, size in parts) or 1.0
    shapes, left = [], 0.0
    for name, size in parts:
        width = size / total * _WIDTH
        if width > 0:
            shapes.append(
                Markup('<rect class="{}" x="{:.2f}" y="0" width="{:.2f}" height="20"/>').format(name, left, width)
            )
        left += width
    return _svg("bar", 20, shapes, label)


def columns(counts: Sequence[int], label: str) -> Markup:
    """Columns of a histogram, the highest filling the chart.

    Args:
        counts: the height of each column, at least 0.
        label: what a person who cannot see the chart is told.
    """
    highest, step = max(counts, default=0) or 1, _WIDTH / max(len(counts), 1)
    shapes = []
    for number, count in enumerate(counts):
        height = max(count / highest * 100, 0.8 if count else 0.0)
        shapes.append(
            Markup('<rect class="column" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/>').format(
                number * step + step * 0.08, 100 - height, step * 0.84, height
            )
        )
    return _svg("histogram", 100, shapes, label)


def interval_bar(value: float, interval: tuple[float, float] | None, top: float, name: str, label: str) -> Markup:
    """One horizontal bar from 0 to ``value`` with a whisker over ``interval``.

    Args:
        value: the length of the bar, from 0 to ``top``.
        interval: the ends of the whisker; None: no whisker.
        top: the value at the right end of the chart.
        name: the CSS class of the bar.
        label: what a person who cannot see the chart is told.
    """
    shapes = [Markup('<rect class="track" x="0" y="0" width="1000" height="20"/>')]
    shapes.append(Markup('<rect class="{}" x="0" y="0" width="{:.2f}" height="20"/>').format(name, _place(value, top)))
    if interval is not None:
        low, high = (_place(end, top) for end in interval)
        shapes += _whisker(low, high)
    return _svg("bar", 20, shapes, label)


def lines(
    series: Sequence[tuple[str, Sequence[tuple[float, float]]]], bounds: tuple[float, float, float, float], label: str
) -> Markup:
    """Curves over one pair of axes; later ones are drawn over earlier ones.

    Args:
        series: the CSS class and the (x, y) points of each curve, from left to right.
        bounds: x of the left and right edge, y of the bottom and top edge.
        label: what a person who cannot see the chart is told.
    """
    left, right, bottom, top = bounds
    shapes = [
        Markup('<path class="grid-line" d="M0 {y}H1000" vector-effect="non-scaling-stroke"/>').format(y=y)
        for y in (0, 100, 200)
    ]
    for name, points in series:
        places = [
            f"{_place(x - left, right - left):.1f},{200 - _place(y - bottom, top - bottom) / 5:.2f}" for x, y in points
        ]
        shapes.append(
            Markup('<polyline class="line {}" points="{}" vector-effect="non-scaling-stroke"/>').format(
                name, " ".join(places)
            )
        )
    return _svg("chart", 200, shapes, label)


def bands(
    series: Sequence[tuple[str, Sequence[tuple[float, float, float, float]]]], top: float, bottom: float, label: str
) -> Markup:
    """Curves with the band of their interval and a dot at each point; later ones are drawn over earlier ones.

    Args:
        series: the CSS class and the points of each curve, from left to right: x from 0 to 1, then the value and the
            low and high end of its interval.
        top: value at the upper edge.
        bottom: value at the lower edge.
        label: what a person who cannot see the chart is told.
    """
    shapes = [
        Markup('<path class="grid-line" d="M0 {y}H1000" vector-effect="non-scaling-stroke"/>').format(y=y)
        for y in (0, 50, 100, 150, 200)
    ]

    def at(x: float, y: float) -> str:
        return f"{_place(x, 1.0):.1f} {200 - _place(y - bottom, top - bottom) / 5:.2f}"

    for name, points in series:
        edge = [at(x, high) for x, _, _, high in points] + [at(x, low) for x, _, low, _ in reversed(points)]
        shapes.append(Markup('<path class="band {}" d="M{}Z"/>').format(name, "L".join(edge)))
    for name, points in series:
        places = [at(x, value) for x, value, _, _ in points]
        shapes.append(
            Markup('<polyline class="line {}" points="{}" vector-effect="non-scaling-stroke"/>').format(
                name, " ".join(places)
            )
        )
        # A line without length and with round ends stays a circle when the chart is stretched.
        dots = "".join(f"M{place}h0" for place in places)
        shapes.append(Markup('<path class="dot {}" d="{}" vector-effect="non-scaling-stroke"/>').format(name, dots))
    return _svg("chart", 200, shapes, label)


def change_bar(value: float, interval: tuple[float, float], extent: float, name: str, label: str) -> Markup:
    """A bar to the left or right of the middle, with a whisker over ``interval``.

    Args:
        value: the length of the bar, below 0 to the left.
        interval: the ends of the whisker.
        extent: the value at either end of the chart.
        name: the CSS class of the bar.
        label: what a person who cannot see the chart is told.
    """
    start, end = sorted((500.0, _place(value + extent, 2 * extent)))
    shapes = [
        Markup('<rect class="track" x="0" y="0" width="1000" height="20"/>'),
        Markup('<rect class="{}" x="{:.2f}" y="0" width="{:.2f}" height="20"/>').format(name, start, end - start),
        Markup('<path class="whisker" d="M500 0V20" vector-effect="non-scaling-stroke"/>'),
    ]
    low, high = (_place(end + extent, 2 * extent) for end in interval)
    shapes += _whisker(low, high)
    return _svg("bar", 20, shapes, label)


def _whisker(low: float, high: float) -> list[Markup]:
    path = f"M{low:.2f} 10H{high:.2f}M{low:.2f} 4V16M{high:.2f} 4V16"
    return [  # the halo keeps the line visible on the bar
        Markup('<path class="{}" d="{}" vector-effect="non-scaling-stroke"/>').format(layer, path)
        for layer in ("halo", "whisker")
    ]


def _place(value: float, top: float) -> float:
    return min(max(value / top if top > 0 else 0.0, 0.0), 1.0) * _WIDTH


def _svg(name: str, height: int, shapes: Sequence[Markup], label: str) -> Markup:
    return Markup(
        '<svg class="{}" viewBox="0 0 1000 {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(name, height, escape(label), Markup("").join(shapes))
