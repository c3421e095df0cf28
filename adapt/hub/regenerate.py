"""Making a card anew from the JSON files beside it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from adapt.errors import CheckpointError
from adapt.files import SUMS, atomic_folder, check_sums, read_object, read_sums, sha256_file
from adapt.hub.adapter_card import render_adapter_card
from adapt.hub.card import render_card
from adapt.hub.index_card import render_index_card
from adapt.hub.upload import CARD

METRICS = "metrics.json"


def card_of(folder: Path, metrics: Mapping[str, Any]) -> str:
    """The card of what a folder holds: a checkpoint, an adapter, or an index that was made to be shared.

    Raises:
        CheckpointError: it holds none of these, or a file that says what it is cannot be read.
    """
    try:
        if (folder / "feature_spec.json").is_file():
            return render_card(read_object(folder / "config.json"), read_object(folder / "feature_spec.json"), metrics)
        if (folder / "adapter_config.json").is_file():
            return render_adapter_card(
                read_object(folder / "base.json"), read_object(folder / "adapter_config.json"), metrics
            )
        if (folder / "CURRENT").is_file():
            return render_index_card(metrics)
    except (KeyError, TypeError, ValueError) as failure:
        raise CheckpointError(f"expected files that say what is in {folder}, found: {failure!r}") from failure
    raise CheckpointError(
        f"expected a checkpoint, an adapter or a shared index in {folder}, found none",
        "`adapt pretrain`, `adapt finetune` and `adapt index build` make them.",
    )


def regenerate_card(folder: Path, *, repository: str = "", license_id: str = "") -> str:
    """Write ``README.md`` and ``SHA256SUMS`` of a folder anew; only these and ``metrics.json`` may have been changed.

    A checkpoint has another fingerprint afterwards where its card is another one; adapters and indexes that were made
    with it before belong to the earlier one.

    Args:
        folder: of a checkpoint, an adapter, or an index that was made to be shared.
        repository: ``org/name`` that it is shared as; empty = as it was.
        license_id: as the Hub names licences; empty = as it was.

    Returns:
        The card.

    Raises:
        CheckpointError: another file was changed, or the folder holds nothing that has a card.
        OutputError: it could not be written; then it is as it was.
    """
    metrics = read_object(folder / METRICS) if (folder / METRICS).is_file() else {}
    given = {"repository": repository, "license": license_id}
    renewed = {**metrics, **{name: value for name, value in given.items() if value}}
    card = card_of(folder, renewed)
    listed = read_sums(folder)
    check_sums(folder, {name: digest for name, digest in listed.items() if name not in (CARD, METRICS)})
    with atomic_folder(folder, replace=True) as temporary:
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
        write_card(temporary, renewed, card, listed)
    return card


def write_card(folder: Path, metrics: Mapping[str, Any], card: str, names: Iterable[str]) -> None:
    """Put metrics, card and sums into a folder that nobody reads yet.

    Args:
        folder: holds the files.
        metrics: what ``metrics.json`` will hold.
        card: text of ``README.md``.
        names: relative paths of its files; what else lies there is no part of it.
    """
    text = json.dumps(dict(metrics), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / METRICS).write_text(text + "\n", encoding="utf-8")
    (folder / CARD).write_text(card, encoding="utf-8")
    listed = sorted({*names, METRICS, CARD} - {SUMS})
    lines = [f"{sha256_file(folder / name)}  {name}\n" for name in listed]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")
