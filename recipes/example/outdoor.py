"""Pictures of what is used outdoors: camping, bicycles, garden."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pen import Pen

DARK, STEEL, PALE, WOOD = "#2f3437", "#9aa4ab", "#f7f5ef", "#a9753f"


def tent(pen: Pen, color: str, light: str, half_width: float) -> None:
    left, right = 50 - half_width, 50 + half_width
    pen.shape([(left, 84), (50, 28), (right, 84)], color)
    pen.shape([(50, 28), (right, 84), (right - half_width * 0.55, 84)], light)
    pen.shape([(50, 40), (50 - half_width * 0.38, 84), (50 + half_width * 0.38, 84)], DARK)
    pen.shape([(50, 40), (50 - half_width * 0.38, 84), (46 - half_width * 0.3, 84)], PALE)
    pen.line([(50, 28), (50, 23)], 1.6, DARK)
    for x, out in ((left, -5), (right, 5)):
        pen.line([(x, 84), (x + out, 88)], 1.4, DARK)


def sleeping_bag(pen: Pen, color: str, lining: str) -> None:
    pen.box(30, 20, 70, 86, color, radius=19)
    pen.oval(50, 35, 15, 13, lining)
    pen.box(39, 31, 61, 43, PALE, radius=5)
    for y in (54, 63, 72):
        pen.line([(32, y), (68, y)], 1.0, lining)
    pen.line([(63, 48), (63, 82)], 1.4, DARK)


def mat(pen: Pen) -> None:
    pen.box(26, 62, 88, 84, "#3f8f86", radius=4)
    for x in (50, 60, 70, 80):
        pen.line([(x, 65), (x, 81)], 0.8, "#2f726b")
    pen.oval(30, 66, 18, 18, "#3f8f86")
    for radius in (14, 10, 6, 2.5):
        pen.ring(30, 66, radius, 1.4, "#2f726b")


def stove(pen: Pen) -> None:
    pen.box(33, 58, 67, 86, "#c8402f", radius=7)
    pen.box(33, 66, 67, 75, PALE)
    pen.box(45, 46, 55, 60, STEEL, radius=2)
    pen.line([(50, 54), (72, 54)], 2.4, DARK)
    pen.oval(74, 54, 3.4, 3.4, DARK)
    for tip in (26, 74):
        pen.line([(50, 47), (tip, 36)], 2.4, STEEL)
    for x, height in ((40, 9), (50, 15), (60, 9)):
        pen.shape([(x - 4, 40), (x, 40 - height), (x + 4, 40)], "#3d8fd1")
        pen.shape([(x - 2, 40), (x, 40 - height * 0.5), (x + 2, 40)], "#f2b53c")


def camping_pot(pen: Pen) -> None:
    pen.box(28, 48, 72, 86, "#8d979e", radius=6)
    pen.box(28, 48, 38, 86, "#a7b0b6", radius=5)
    pen.box(24, 43, 76, 50, STEEL, radius=3)
    pen.arc((50, 46), 25, (180, 360), 1.8, DARK)
    pen.box(44, 37, 56, 43, DARK, radius=2)


def headlamp(pen: Pen) -> None:
    pen.ring(50, 52, 35, 7, "#ef7d2e", height=25)
    pen.box(36, 58, 64, 84, DARK, radius=6)
    pen.oval(50, 71, 9.5, 9.5, "#fdf3b8")
    pen.oval(50, 71, 5, 5, "#ffffff")
    pen.ring(50, 71, 9.5, 1.4, STEEL)


def lantern(pen: Pen) -> None:
    pen.arc((50, 36), 19, (180, 360), 2.2, DARK)
    pen.shape([(34, 40), (40, 26), (60, 26), (66, 40)], "#2f6b4f")
    pen.box(36, 40, 64, 74, "#fdf0bf")
    pen.oval(50, 57, 7, 11, "#f5b93f")
    for x in (36, 50, 64):
        pen.line([(x, 40), (x, 74)], 1.5, DARK)
    pen.box(31, 73, 69, 86, "#2f6b4f", radius=4)


def backpack(pen: Pen) -> None:
    pen.arc((50, 22), 8, (180, 360), 2.6, DARK)
    pen.box(22, 50, 34, 78, "#b8572b", radius=5)
    pen.box(66, 50, 78, 78, "#b8572b", radius=5)
    pen.box(29, 22, 71, 86, "#d76a34", radius=13)
    pen.box(29, 22, 71, 41, "#b8572b", radius=10)
    pen.box(35, 56, 65, 80, "#b8572b", radius=6)
    pen.line([(38, 62), (62, 62)], 1.2, PALE)
    for x in (40, 60):
        pen.line([(x, 34), (x, 50)], 2.2, DARK)
        pen.box(x - 3, 46, x + 3, 51, STEEL, radius=1)


def bottle(pen: Pen, color: str, band: str) -> None:
    pen.box(42, 17, 58, 27, DARK, radius=3)
    pen.box(44, 26, 56, 34, STEEL)
    pen.box(36, 32, 64, 86, color, radius=9)
    pen.box(36, 52, 64, 66, band)
    pen.box(40, 36, 43.5, 82, PALE, radius=2)


def mug(pen: Pen, color: str, rim: str) -> None:
    pen.ring(70, 60, 13, 4.5, color)
    pen.box(28, 40, 70, 86, color, radius=6)
    pen.oval(49, 41, 21, 5.5, rim)
    pen.oval(49, 41.6, 18, 4, DARK)
    for x, y in ((36, 58), (52, 54), (44, 70), (60, 72), (58, 62)):
        pen.oval(x, y, 1.3, 1.3, rim)


def hammock(pen: Pen) -> None:
    for x in (12, 88):
        pen.box(x - 4, 18, x + 4, 88, WOOD, radius=2)
    pen.half(50, 42, 34, 36, "#d4a017")
    pen.half(50, 42, 34, 22, "#e7bf51")
    pen.half(50, 42, 34, 9, "#e3ecdf")
    for start, end in (((12, 34), (17, 42)), ((88, 34), (83, 42))):
        pen.line([start, end], 1.6, DARK)
    for x in (32, 44, 56, 68):
        pen.line([(x, 55), (x, 70)], 1.0, "#b5851a")


def camp_chair(pen: Pen) -> None:
    for points in ([(26, 88), (70, 56)], [(74, 88), (30, 56)]):
        pen.line(points, 2.6, STEEL)
    pen.line([(28, 20), (30, 60)], 2.6, STEEL)
    pen.line([(72, 20), (70, 60)], 2.6, STEEL)
    pen.shape([(28, 22), (72, 22), (69, 52), (31, 52)], "#2a6f97")
    pen.shape([(31, 52), (69, 52), (76, 63), (24, 63)], "#3a86b4")
    for x in (20, 80):
        pen.line([(x - 6, 47), (x + 6, 47)], 3.4, DARK)


def bicycle(pen: Pen, color: str, straight: bool, basket: bool) -> None:
    for x in (26, 74):
        pen.ring(x, 66, 19, 2.6, DARK)
        pen.ring(x, 66, 16, 0.7, STEEL)
        for dx, dy in ((16, 0), (11, 11), (0, 16), (-11, 11)):
            pen.line([(x - dx, 66 - dy), (x + dx, 66 + dy)], 0.4, STEEL)
    top = [(40, 40), (65, 38)] if straight else [(42, 50), (65, 40)]
    for points in ([(26, 66), (39, 38)], [(26, 66), (48, 66)], [(39, 36), (48, 66)], [(48, 66), (66, 42)], top):
        pen.line(points, 2.8, color)
    pen.line([(74, 66), (63, 32)], 2.6, color)
    pen.line([(39, 38), (37, 32)], 1.8, DARK)
    pen.line([(31, 31), (43, 31)], 3.6, DARK)
    pen.line([(63, 32), (71, 31)] if straight else [(63, 32), (59, 26), (53, 26)], 2.2, DARK)
    if straight:
        pen.arc((70, 36), 5, (-80, 80), 2.2, DARK)
    if basket:
        pen.shape([(68, 34), (88, 34), (85, 48), (71, 48)], WOOD)
        pen.line([(69, 39), (87, 39)], 0.9, PALE)
    pen.ring(48, 66, 5, 1.8, STEEL)
    pen.line([(48, 66), (54, 75)], 1.8, DARK)


def helmet(pen: Pen) -> None:
    pen.half(50, 66, 36, 42, "#e2533c", upper=True)
    pen.box(13, 62, 87, 70, "#b93f2c", radius=4)
    for x in (28, 43, 58, 73):
        pen.box(x - 3.5, 38 + abs(x - 50) * 0.5, x + 3.5, 58, DARK, radius=3)
    pen.line([(26, 70), (44, 88), (56, 88), (74, 70)], 2, DARK)


def light_set(pen: Pen) -> None:
    for x, color, glow in ((32, "#fdf3b8", "#ffffff"), (68, "#d8342c", "#f58f86")):
        pen.box(x - 14, 36, x + 14, 76, DARK, radius=8)
        pen.oval(x, 56, 11, 11, color)
        pen.oval(x, 56, 5, 5, glow)
        pen.box(x - 5, 76, x + 5, 84, STEEL, radius=2)


def u_lock(pen: Pen) -> None:
    pen.arc((50, 40), 20, (180, 360), 7, "#5b6670")
    for x in (30, 70):
        pen.line([(x, 40), (x, 70)], 7, "#5b6670")
    pen.box(20, 66, 80, 84, "#e0a52a", radius=6)
    pen.oval(50, 75, 4.5, 4.5, DARK)


def pump(pen: Pen) -> None:
    pen.box(28, 16, 60, 22, DARK, radius=3)
    pen.box(42.5, 20, 45.5, 40, STEEL)
    pen.box(39, 36, 49, 82, "#2a6f97", radius=3)
    pen.box(24, 80, 64, 86, DARK, radius=3)
    pen.arc((57, 66), 17, (90, -150), 2, DARK)
    pen.oval(62, 66, 9, 9, PALE)
    pen.ring(62, 66, 9, 1.6, DARK)
    pen.line([(62, 66), (66, 61)], 1.2, "#c8402f")


def pannier(pen: Pen) -> None:
    pen.box(26, 34, 74, 86, "#3b5d50", radius=6)
    pen.shape([(24, 30), (76, 30), (72, 54), (28, 54)], "#2c473d")
    for x in (37, 63):
        pen.box(x - 2, 36, x + 2, 66, WOOD, radius=1)
        pen.box(x - 3.5, 58, x + 3.5, 65, STEEL, radius=1)
        pen.arc((x, 28), 5, (180, 360), 2, DARK)
    pen.box(40, 72, 60, 77, "#f2f2e6", radius=1)


def bell(pen: Pen) -> None:
    pen.half(50, 62, 30, 34, "#d9a441", upper=True)
    pen.box(18, 60, 82, 66, "#b98425", radius=3)
    pen.oval(50, 29, 4, 4, DARK)
    pen.oval(38, 46, 4, 8, "#f0cc82")
    pen.line([(72, 66), (86, 74)], 3, DARK)
    pen.box(42, 66, 58, 82, DARK, radius=3)


def watering_can(pen: Pen) -> None:
    pen.arc((68, 56), 17, (-80, 90), 4, "#3f7f56")
    pen.box(34, 44, 68, 86, "#4f9a6b", radius=5)
    pen.line([(38, 78), (14, 44)], 5, "#4f9a6b")
    pen.shape([(6, 42), (18, 34), (20, 44), (12, 48)], "#3f7f56")
    pen.oval(51, 44, 17, 4.5, "#3f7f56")


def shears(pen: Pen) -> None:
    pen.shape([(50, 54), (42, 18), (54, 26), (55, 52)], STEEL)
    pen.shape([(50, 54), (64, 24), (62, 42), (54, 56)], "#7b868d")
    pen.line([(52, 54), (40, 68), (35, 87)], 6, "#c8402f")
    pen.line([(51, 54), (62, 68), (66, 87)], 6, "#a83224")
    pen.oval(51.5, 54, 3.4, 3.4, DARK)


def leaves(pen: Pen, x: float, y: float, size: float, color: str) -> None:
    pen.line([(x, y), (x, y - size)], 1.8, "#4d7a38")
    for side in (-1, 1):
        for height in (0.35, 0.62, 0.88):
            pen.oval(x + side * size * 0.2, y - size * height, size * 0.2, size * 0.12, color)
    pen.oval(x, y - size, size * 0.12, size * 0.2, color)


def flower_pot(pen: Pen) -> None:
    leaves(pen, 50, 48, 30, "#6aa84f")
    pen.shape([(32, 50), (68, 50), (62, 86), (38, 86)], "#c4683f")
    pen.box(28, 44, 72, 54, "#d97b4f", radius=2)


def planter(pen: Pen) -> None:
    for x, size, color in ((26, 26, "#5d9b4a"), (42, 32, "#7cb35c"), (58, 28, "#5d9b4a"), (74, 24, "#8fbf63")):
        leaves(pen, x, 58, size, color)
    pen.box(12, 56, 88, 84, WOOD, radius=2)
    for y in (65, 74):
        pen.line([(13, y), (87, y)], 0.8, "#7d5429")
    for x in (20, 80):
        pen.box(x - 3, 84, x + 3, 89, "#7d5429")


def trowel(pen: Pen) -> None:
    pen.shape([(40, 60), (60, 60), (61, 76), (50, 92), (39, 76)], STEEL)
    pen.shape([(50, 60), (60, 60), (61, 76), (50, 92)], "#7f8a91")
    pen.box(47.5, 44, 52.5, 62, STEEL)
    pen.box(44, 14, 56, 46, WOOD, radius=6)
    pen.box(44, 38, 56, 42, "#c8402f")


def gloves(pen: Pen) -> None:
    for x, thumb in ((32, 17), (68, 83)):
        for offset in (-9, -3, 3, 9):
            pen.box(x + offset - 2.8, 24 + abs(offset) * 0.5, x + offset + 2.8, 56, "#6b9a3f", radius=2.8)
        pen.line([(x, 62), (thumb, 50)], 6.5, "#6b9a3f")
        pen.box(x - 12, 48, x + 12, 72, "#6b9a3f", radius=5)
        pen.box(x - 12, 71, x + 12, 86, "#d9b44a", radius=2)


def bird_feeder(pen: Pen) -> None:
    pen.line([(50, 10), (50, 24)], 1.4, DARK)
    pen.box(32, 42, 68, 74, "#d8c39a")
    pen.box(40, 50, 60, 74, "#6b4a26", radius=3)
    pen.shape([(22, 44), (50, 20), (78, 44)], "#8a3b2e")
    pen.box(22, 74, 78, 79, WOOD, radius=2)
    pen.oval(70, 66, 8, 6, "#4a86c5")
    pen.oval(76, 60, 4.4, 4.4, "#4a86c5")
    pen.shape([(80, 59), (85, 61), (80, 62)], "#e9a23b")
    pen.oval(69, 68, 5, 3.4, "#f0d9a8")


def hose(pen: Pen) -> None:
    for radius in (33, 26, 19):
        pen.ring(48, 56, radius, 5, "#4a9a54")
        pen.ring(48, 56, radius - 1.8, 0.9, "#7cc084")
    pen.line([(78, 66), (86, 84)], 5, "#4a9a54")
    pen.line([(84, 80), (88, 90)], 7, "#e0a52a")


DRAWINGS: dict[str, Callable[[Pen], None]] = {
    "CAMP-001": partial(tent, color="#3f8f5b", light="#5cab77", half_width=34),
    "CAMP-002": partial(tent, color="#d9822b", light="#eaa457", half_width=42),
    "CAMP-003": partial(sleeping_bag, color="#2a4f8f", lining="#8fb1e0"),
    "CAMP-005": mat,
    "CAMP-006": stove,
    "CAMP-007": camping_pot,
    "CAMP-008": headlamp,
    "CAMP-009": lantern,
    "CAMP-010": backpack,
    "CAMP-011": partial(bottle, color="#2f7d6d", band="#e8e2cf"),
    "CAMP-012": partial(mug, color="#34507a", rim="#f4f1e6"),
    "CAMP-013": hammock,
    "CAMP-014": camp_chair,
    "BIKE-001": partial(bicycle, color="#2f7d6d", straight=False, basket=True),
    "BIKE-002": partial(bicycle, color="#c8402f", straight=True, basket=False),
    "BIKE-003": helmet,
    "BIKE-004": light_set,
    "BIKE-005": u_lock,
    "BIKE-006": pump,
    "BIKE-007": pannier,
    "BIKE-008": bell,
    "BIKE-010": partial(bottle, color="#d7dee3", band="#c8402f"),
    "BIKE-011": partial(bicycle, color="#e0a52a", straight=False, basket=False),
    "GARD-001": watering_can,
    "GARD-002": shears,
    "GARD-003": flower_pot,
    "GARD-004": planter,
    "GARD-005": trowel,
    "GARD-006": gloves,
    "GARD-010": bird_feeder,
    "GARD-011": hose,
}
