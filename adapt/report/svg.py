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
        path = f"M{low:.2f} 10H{high:.2f}M{low:.2f} 4V16M{high:.2f} 4V16"
        for layer in ("halo", "whisker"):  # the halo keeps the line visible on the bar
            shapes.append(Markup('<path class="{}" d="{}" vector-effect="non-scaling-stroke"/>').format(layer, path))
    return _svg("bar", 20, shapes, label)


def _place(value: float, top: float) -> float:
    return min(max(value / top if top > 0 else 0.0, 0.0), 1.0) * _WIDTH


def _svg(name: str, height: int, shapes: Sequence[Markup], label: str) -> Markup:
    return Markup(
        '<svg class="{}" viewBox="0 0 1000 {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(name, height, escape(label), Markup("").join(shapes))
