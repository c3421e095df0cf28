"""Write ``pretrained/index.json`` from the folders beside it.

    python recipes/index_pretrained.py

Each folder with a ``SHA256SUMS`` is an entry: a checkpoint if it holds ``feature_spec.json``, else an encoder. The
sha256 is that of ``SHA256SUMS``, which vouches for every other file. The summary is the checkpoint's own, or the first
paragraph of the encoder's card.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adapt.files import bundled, sha256_file, write_json


def entry(folder: Path) -> dict[str, Any]:
    """Name, kind, size, hash and summary of one folder."""
    is_checkpoint = (folder / "feature_spec.json").is_file()
    if is_checkpoint:
        summary = json.loads((folder / "config.json").read_text(encoding="utf-8"))["summary"]
    else:
        summary = first_paragraph((folder / "README.md").read_text(encoding="utf-8"))
    return {
        "name": folder.name,
        "kind": "checkpoint" if is_checkpoint else "encoder",
        "size_bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        "sha256": sha256_file(folder / "SHA256SUMS"),
        "summary": summary,
    }


def first_paragraph(card: str) -> str:
    """What stands below the title of a card, on one line."""
    body = card.split("\n# ", 1)[1].split("\n", 1)[1]
    return " ".join(body.strip().split("\n\n", 1)[0].split())


def main() -> None:
    root = bundled("pretrained")
    folders = sorted(path.parent for path in root.glob("*/SHA256SUMS"))
    entries = sorted((entry(folder) for folder in folders), key=lambda found: (found["kind"], found["name"]))
    write_json(root / "index.json", {"checkpoints": entries})
    print(f"{len(entries)} entries in {root / 'index.json'}")


if __name__ == "__main__":
    main()
