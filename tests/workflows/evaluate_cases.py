"""A small shop whose users walk through it: what comes next follows from what came before, not from the titles."""

from __future__ import annotations

from pathlib import Path

import numpy as np

KINDS = ("cotton shirt", "garden rake", "coffee grinder", "chess clock")
COLOURS = ("red", "blue", "green", "black", "white", "grey", "brown", "pink", "yellow", "orange")
ITEMS = len(KINDS) * len(COLOURS)


def write_shop(folder: Path, users: int = 90, *, times: str = "none", seed: int = 0) -> Path:
    """Items of four kinds in ten colours; users walk along a ring through all of them, mostly one step at a time.

    Args:
        folder: to write to.
        users: how many.
        times: ``"none"``: no timestamps, ``"order"``: numbered from 0, ``"real"``: seconds, users one after another.
        seed: of the walks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    titles = [f"{colour} {kind}" for colour in COLOURS for kind in KINDS]
    lines = [f"{number:03},{title}" for number, title in enumerate(titles)]
    (folder / "items.csv").write_text("item_id,title\n" + "\n".join(lines) + "\n", encoding="utf-8")
    random = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        place, start = int(random.integers(ITEMS)), 1_600_000_000 + 40_000 * user
        for event in range(int(random.integers(4, 9))):
            stamp = {"none": "", "order": f",{event}", "real": f",{start + 3_600 * event}"}[times]
            rows.append(f"u{user:03},{place:03}{stamp}")
            place = (place + (1 if random.random() < 0.85 else int(random.integers(2, 9)))) % ITEMS
    header = "user_id,item_id" + ("" if times == "none" else ",timestamp")
    (folder / "interactions.csv").write_text(header + "\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return folder
