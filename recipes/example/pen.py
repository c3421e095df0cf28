"""A small drawing board: shapes in units of a 100 x 100 square, drawn large and scaled down for smooth edges."""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image, ImageDraw

SIZE = 224  # pixels of a finished picture
_SCALE = 4 * SIZE / 100  # pixels a unit while drawing

Point = tuple[float, float]


class Pen:
    """Draws filled shapes and thick lines on a coloured background with a soft floor shadow."""

    def __init__(self, background: str, shadow: Point | None = (50, 86)) -> None:
        self.image = Image.new("RGB", (4 * SIZE, 4 * SIZE), background)
        self.draw = ImageDraw.Draw(self.image)
        if shadow is not None:
            red, green, blue = self.image.getpixel((0, 0))
            self.oval(*shadow, 34, 5, f"#{red * 9 // 10:02x}{green * 9 // 10:02x}{blue * 9 // 10:02x}")

    def oval(self, x: float, y: float, rx: float, ry: float, fill: str) -> None:
        """A filled ellipse by centre and radii."""
        self.draw.ellipse([_px(x - rx), _px(y - ry), _px(x + rx), _px(y + ry)], fill=fill)

    def ring(self, x: float, y: float, radius: float, width: float, color: str, *, height: float | None = None) -> None:
        """An unfilled ellipse; ``height`` is its other radius when it is not a circle."""
        ry = radius if height is None else height
        box = [_px(x - radius), _px(y - ry), _px(x + radius), _px(y + ry)]
        self.draw.ellipse(box, outline=color, width=_px(width))

    def box(self, left: float, top: float, right: float, bottom: float, fill: str, *, radius: float = 0) -> None:
        """A filled rectangle with rounded corners."""
        self.draw.rounded_rectangle([_px(left), _px(top), _px(right), _px(bottom)], _px(radius), fill=fill)

    def shape(self, points: list[Point], fill: str) -> None:
        """A filled polygon."""
        self.draw.polygon([(_px(x), _px(y)) for x, y in points], fill=fill)

    def line(self, points: list[Point], width: float, color: str) -> None:
        """A line through points, with round joints and ends."""
        self.draw.line([(_px(x), _px(y)) for x, y in points], fill=color, width=_px(width), joint="curve")
        for x, y in (points[0], points[-1]):
            self.oval(x, y, width / 2, width / 2, color)

    def arc(self, center: Point, radius: float, angles: Point, width: float, color: str) -> None:
        """Part of a circle, angles in degrees clockwise from the right."""
        start, end = angles
        steps = max(8, int(abs(end - start) / 4))
        turns = [math.radians(start + (end - start) * step / steps) for step in range(steps + 1)]
        self.line([(center[0] + radius * math.cos(t), center[1] + radius * math.sin(t)) for t in turns], width, color)

    def half(self, x: float, y: float, rx: float, ry: float, fill: str, *, upper: bool = False) -> None:
        """Half of a filled ellipse: the lower one, or the upper."""
        box = [_px(x - rx), _px(y - ry), _px(x + rx), _px(y + ry)]
        self.draw.pieslice(box, 180 if upper else 0, 360 if upper else 180, fill=fill)

    def save(self, path: Path) -> None:
        """Scale down and write a small palette PNG, the same bytes on every run of the same Pillow."""
        small = self.image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
        small.quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)


def _px(units: float) -> int:
    return round(units * _SCALE)
