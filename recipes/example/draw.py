"""Draw the pictures of the example shop: `python recipes/example/draw.py` writes `images/*.png`.

Every picture is made of a few shapes (`outdoor.py`, `indoor.py`), so that the shop has pictures that nobody else owns.
"""

from __future__ import annotations

from pathlib import Path

import indoor
import outdoor
from pen import Pen

BACKGROUNDS = {
    "CAMP": "#e3ecdf",
    "COFF": "#f1e6d8",
    "BIKE": "#dfe8f0",
    "GARD": "#eaf0d8",
    "KITC": "#f3e9e2",
    "HOME": "#e9e4f0",
}


def main() -> None:
    """Write every picture beside this script."""
    folder = Path(__file__).resolve().parent / "images"
    folder.mkdir(exist_ok=True)
    for item, drawing in {**outdoor.DRAWINGS, **indoor.DRAWINGS}.items():
        pen = Pen(BACKGROUNDS[item.split("-")[0]])
        drawing(pen)
        pen.save(folder / f"{item.lower()}.png")


if __name__ == "__main__":
    main()
