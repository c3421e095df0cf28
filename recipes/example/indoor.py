"""Pictures of what is used indoors, and of seed packets: coffee, kitchen, home."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from outdoor import leaves
from pen import Pen

DARK, STEEL, PALE, WOOD, GLASS = "#2f3437", "#9aa4ab", "#f7f5ef", "#a9753f", "#d5e3e8"
COFFEE = "#4b2e1e"


def dripper(pen: Pen) -> None:
    pen.box(33, 60, 67, 86, GLASS, radius=6)
    pen.box(36, 72, 64, 83, COFFEE, radius=4)
    pen.box(26, 53, 74, 59, "#c9825b", radius=3)
    pen.arc((75, 40), 8, (-80, 90), 3.4, "#c9825b")
    pen.shape([(24, 28), (76, 28), (56, 54), (44, 54)], "#d9946d")
    pen.oval(50, 28, 26, 6, "#e8b08d")
    pen.oval(50, 28.6, 22, 4.4, COFFEE)


def kettle(pen: Pen) -> None:
    pen.line([(36, 74), (22, 66), (24, 46), (12, 36)], 4, "#3c4449")
    pen.shape([(36, 46), (66, 46), (74, 86), (28, 86)], "#4a545a")
    pen.shape([(58, 46), (66, 46), (74, 86), (64, 86)], "#3c4449")
    pen.box(36, 40, 66, 48, "#3c4449", radius=3)
    pen.oval(51, 36, 4, 4, WOOD)
    pen.line([(64, 42), (84, 42), (84, 70)], 5, WOOD)


def grinder(pen: Pen) -> None:
    pen.line([(50, 24), (80, 20)], 2.8, STEEL)
    pen.oval(81, 17, 5, 5, WOOD)
    pen.box(35, 26, 65, 40, STEEL, radius=4)
    pen.box(37, 38, 63, 66, "#5b6670", radius=2)
    for x in (42, 47, 52, 57):
        pen.line([(x, 42), (x, 62)], 0.8, "#7f8a91")
    pen.box(35, 64, 65, 86, WOOD, radius=5)


def french_press(pen: Pen) -> None:
    pen.ring(69, 58, 13, 3.6, DARK)
    pen.box(32, 36, 68, 84, GLASS, radius=4)
    pen.box(34, 52, 66, 82, COFFEE, radius=3)
    pen.box(49, 14, 51, 50, STEEL)
    pen.oval(50, 14, 4.4, 4.4, DARK)
    pen.box(34, 49, 66, 53, STEEL, radius=1)
    pen.box(29, 30, 71, 38, DARK, radius=4)
    for x in (32, 50, 68):
        pen.line([(x, 38), (x, 86)], 1.3, STEEL)
    pen.box(29, 82, 71, 87, DARK, radius=2)


def moka(pen: Pen) -> None:
    pen.line([(62, 32), (80, 34), (78, 56)], 4.4, DARK)
    pen.shape([(36, 30), (64, 30), (58, 56), (42, 56)], "#b9c1c6")
    pen.shape([(36, 30), (28, 34), (40, 40)], "#b9c1c6")
    pen.shape([(42, 56), (58, 56), (68, 86), (32, 86)], STEEL)
    pen.shape([(50, 56), (58, 56), (68, 86), (54, 86)], "#838e95")
    pen.box(39, 54, 61, 59, "#7b868d", radius=2)
    pen.shape([(36, 30), (50, 22), (64, 30)], "#838e95")
    pen.oval(50, 21, 3.4, 3.4, DARK)


def cups(pen: Pen) -> None:
    for x, y, color in ((34, 58, "#d97b4f"), (64, 66, "#4a7ba6")):
        pen.oval(x, y + 21, 20, 4, PALE)
        pen.ring(x + 14, y + 7, 6, 2.6, color)
        pen.half(x, y, 14, 21, color)
        pen.oval(x, y, 14, 4.4, PALE)
        pen.oval(x, y + 0.4, 11.5, 3, COFFEE)


def pouch(pen: Pen, color: str, label: str, bean: str) -> None:
    pen.box(30, 22, 70, 86, color, radius=4)
    pen.box(30, 22, 70, 31, label, radius=3)
    pen.box(36, 44, 64, 74, PALE, radius=3)
    for x, y in ((44, 54), (55, 56), (49, 65)):
        pen.oval(x, y, 4.6, 3.4, bean)
        pen.line([(x - 3.4, y + 0.8), (x + 3.4, y - 0.8)], 0.8, PALE)


def milk_jug(pen: Pen) -> None:
    pen.ring(68, 56, 13, 4, STEEL)
    pen.shape([(34, 34), (64, 34), (70, 86), (28, 86)], "#b9c1c6")
    pen.shape([(34, 34), (24, 32), (33, 46)], "#b9c1c6")
    pen.shape([(56, 34), (64, 34), (70, 86), (60, 86)], STEEL)
    pen.oval(48, 34, 17, 4.6, "#ffffff")


def seed_packet(pen: Pen) -> None:
    pen.box(29, 18, 71, 86, "#f4efd9", radius=2)
    pen.box(29, 18, 71, 33, "#3f7f56", radius=2)
    leaves(pen, 50, 76, 34, "#4f9a4a")
    pen.box(29, 80, 71, 86, "#3f7f56", radius=1)


def pan(pen: Pen) -> None:
    pen.line([(64, 46), (92, 22)], 6, "#34393c")
    pen.oval(42, 60, 33, 27, "#34393c")
    pen.oval(42, 59, 28, 22, "#4a5155")
    pen.oval(42, 60, 13, 10, "#fbfaf4")
    pen.oval(43, 60, 5.5, 4.6, "#f2b53c")


def knife(pen: Pen) -> None:
    pen.shape([(12, 62), (20, 46), (62, 40), (62, 62)], "#c3cbd0")
    pen.shape([(12, 62), (62, 54), (62, 62)], STEEL)
    pen.box(61, 42, 67, 60, DARK, radius=1)
    pen.box(66, 43, 92, 55, "#5a3a22", radius=4)
    for x in (72, 79, 86):
        pen.oval(x, 49, 1.4, 1.4, STEEL)


def board(pen: Pen) -> None:
    pen.box(20, 34, 80, 84, "#c99a5f", radius=6)
    pen.box(42, 16, 58, 40, "#c99a5f", radius=7)
    pen.oval(50, 23, 3, 3, "#f3e9e2")
    for y in (46, 56, 66, 75):
        pen.line([(26, y), (74, y - 2)], 0.8, "#a87a44")


def dutch_oven(pen: Pen) -> None:
    for x in (15, 85):
        pen.ring(x, 58, 6, 3, "#a3322a")
    pen.box(18, 46, 82, 86, "#c8402f", radius=12)
    pen.half(50, 48, 33, 19, "#d9564a", upper=True)
    pen.box(15, 44, 85, 50, "#a3322a", radius=3)
    pen.oval(50, 28, 5, 4, DARK)


def spoons(pen: Pen) -> None:
    for x, tilt, color in ((34, -8, "#b98a52"), (50, 0, WOOD), (66, 8, "#c99a5f")):
        pen.line([(x, 86), (x + tilt, 40)], 4, color)
        pen.oval(x + tilt * 1.3, 29, 8, 12, color)
        pen.oval(x + tilt * 1.3, 29, 4.6, 8, "#8a5f30")


def bowl(pen: Pen) -> None:
    pen.half(50, 48, 37, 38, "#5f8fa8")
    pen.box(38, 82, 62, 88, "#4c7890", radius=2)
    pen.oval(50, 48, 37, 9, "#86b2c8")
    pen.oval(50, 49, 32, 6.5, "#f0e3c0")


def scale(pen: Pen) -> None:
    pen.box(18, 60, 82, 86, "#e6e8e9", radius=5)
    pen.box(40, 67, 72, 80, DARK, radius=2)
    for x in (48, 54, 60, 66):
        pen.box(x - 1.6, 70, x + 1.6, 77, "#7fd6a5", radius=0.6)
    pen.oval(29, 73, 4, 4, "#c8402f")
    pen.box(14, 52, 86, 61, STEEL, radius=4)
    pen.half(50, 40, 20, 12, GLASS)


def apron(pen: Pen) -> None:
    pen.arc((50, 22), 12, (180, 360), 2.4, DARK)
    pen.shape([(37, 24), (63, 24), (66, 44), (78, 50), (76, 88), (24, 88), (22, 50), (34, 44)], "#34507a")
    pen.box(36, 60, 64, 76, "#26406a", radius=2)
    pen.line([(22, 50), (12, 60)], 2, DARK)
    pen.line([(78, 50), (88, 60)], 2, DARK)


def pepper_mill(pen: Pen) -> None:
    pen.oval(50, 18, 4, 4, STEEL)
    pen.oval(50, 29, 11, 9, "#8a5a2f")
    pen.shape([(42, 38), (58, 38), (54, 54), (62, 86), (38, 86), (46, 54)], WOOD)
    pen.box(37, 78, 63, 86, "#8a5a2f", radius=2)
    pen.box(41, 36, 59, 40, STEEL, radius=1)


def blanket(pen: Pen) -> None:
    for y, color in ((68, "#8a6fae"), (52, "#a58cc5"), (36, "#8a6fae")):
        pen.box(18, y, 82, y + 18, color, radius=7)
        for x in (30, 46, 62):
            pen.line([(x, y + 4), (x, y + 14)], 1.4, PALE)
    for x in range(22, 82, 6):
        pen.line([(x, 86), (x, 90)], 1.0, "#8a6fae")


def desk_lamp(pen: Pen) -> None:
    pen.shape([(58, 42), (80, 30), (88, 52), (70, 58)], "#fff2b3")
    pen.box(24, 81, 62, 87, DARK, radius=3)
    pen.line([(43, 82), (28, 52), (58, 28)], 3, STEEL)
    pen.oval(28, 52, 3.6, 3.6, DARK)
    pen.shape([(50, 28), (66, 18), (82, 34), (60, 46)], "#d9822b")


def candle(pen: Pen) -> None:
    pen.shape([(46, 36), (50, 20), (54, 36)], "#f2b53c")
    pen.oval(50, 35, 4, 5, "#f7d774")
    pen.line([(50, 40), (50, 46)], 1.2, DARK)
    pen.box(31, 46, 69, 86, "#f4ead6", radius=5)
    pen.box(31, 46, 69, 53, "#e6d8bb", radius=3)
    pen.box(38, 60, 62, 77, "#8a6fae", radius=2)


def clock(pen: Pen) -> None:
    pen.oval(50, 50, 33, 33, WOOD)
    pen.oval(50, 50, 28, 28, PALE)
    for x, y in ((50, 26), (74, 50), (50, 74), (26, 50)):
        pen.oval(x, y, 1.8, 1.8, DARK)
    pen.line([(50, 50), (50, 32)], 2, DARK)
    pen.line([(50, 50), (63, 57)], 2.6, DARK)
    pen.oval(50, 50, 2.6, 2.6, "#c8402f")


def vase(pen: Pen) -> None:
    for tip, color in ((36, "#d9564a"), (50, "#e7bf51"), (64, "#c27ba0")):
        pen.line([(50, 50), (tip, 26 - abs(tip - 50) * -0.3)], 1.6, "#4d7a38")
        pen.oval(tip, 24 + abs(tip - 50) * 0.3, 6.5, 6.5, color)
        pen.oval(tip, 24 + abs(tip - 50) * 0.3, 2.2, 2.2, PALE)
    pen.box(43, 44, 57, 60, "#6f8fb0", radius=3)
    pen.oval(50, 70, 20, 17, "#6f8fb0")
    pen.oval(44, 66, 5, 9, "#93aec8")


DRAWINGS: dict[str, Callable[[Pen], None]] = {
    "COFF-001": dripper,
    "COFF-002": kettle,
    "COFF-003": grinder,
    "COFF-004": french_press,
    "COFF-005": moka,
    "COFF-006": cups,
    "COFF-008": partial(pouch, color="#6f8f4e", label="#4f6d33", bean="#8a5a35"),
    "COFF-009": partial(pouch, color="#54352a", label="#3b241c", bean="#2c1a13"),
    "COFF-010": milk_jug,
    "GARD-008": seed_packet,
    "KITC-001": pan,
    "KITC-002": knife,
    "KITC-003": board,
    "KITC-004": dutch_oven,
    "KITC-005": spoons,
    "KITC-006": bowl,
    "KITC-007": scale,
    "KITC-008": apron,
    "KITC-010": pepper_mill,
    "HOME-001": blanket,
    "HOME-002": desk_lamp,
    "HOME-004": candle,
    "HOME-005": clock,
    "HOME-006": vase,
}
