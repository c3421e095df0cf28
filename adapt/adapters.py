"""LoRA adapters for the towers of one checkpoint: attach, save, load, merge.

An adapter reaches every linear layer that :meth:`~adapt.model.towers.DualTower.lora_targets` names. Parameters that are
no matrix can be trained beside it; they lie in a file of their own in the adapter's folder.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from adapt import lora
from adapt.errors import CheckpointError
from adapt.files import atomic_folder, write_sums
from adapt.model.towers import DualTower

BASE, BESIDE, CARD, METRICS = "base.json", "parameters.safetensors", "README.md", "metrics.json"


@dataclass(frozen=True)
class BaseIdentity:
    """The checkpoint that an adapter belongs to.

    Attributes:
        name: its own.
        revision: on the Hub; empty where it is not from there.
        sha256: its fingerprint.
        reference: by which it is read: a bundled name, ``org/name@commit``, or a folder of this machine, which may be
            relative to the adapter's; empty = not known.
    """

    name: str
    revision: str
    sha256: str
    reference: str = ""


def attach(towers: DualTower, *, rank: int = 8, alpha: float = 16.0, dropout: float = 0.0, beside: str = "") -> int:
    """Put a fresh adapter on the towers' own projections and freeze everything else; see :func:`adapt.lora.attach`.

    Args:
        towers: changed in place.
        rank, alpha, dropout: of the low-rank updates.
        beside: regular expression that matches the full names of parameters that are trained as they are; a projection
            whose weight is among them gets no low-rank update.

    Returns:
        The number of trainable parameters.

    Raises:
        UsageError: the rank is below 1, or the towers have an adapter already.
    """
    also = {name: value for name, value in towers.named_parameters() if beside and re.fullmatch(beside, name)}
    whole = "|".join(re.escape(name.removesuffix(".weight")) for name in also)
    targets = f"(?!({whole})$)({towers.lora_targets()})" if whole else towers.lora_targets()
    lora.attach(towers, targets, rank=rank, alpha=alpha, dropout=dropout)
    put(towers, {name: value.detach().clone() for name, value in also.items()}, "the towers")  # twins keep theirs
    for name in also:
        towers.get_parameter(name).requires_grad_(True)
    return sum(parameter.numel() for parameter in towers.parameters() if parameter.requires_grad)


def save(
    towers: DualTower,
    folder: Path,
    base: BaseIdentity,
    *,
    beside: str = "",
    metrics: Mapping[str, Any] | None = None,
    card: Callable[[Path], str] | None = None,
    replace: bool = False,
) -> None:
    """Write the adapter alone: peft's two files, which base it belongs to, and the hash of each file.

    Args:
        towers: with an adapter.
        folder: new or empty.
        base: what the towers are without it.
        beside: as for :func:`attach`: the parameters that were trained beside it.
        metrics: for ``metrics.json``; None = none.
        card: makes the text of ``README.md`` from the folder that holds the other files; None = none.
        replace: whether what is in the folder may be replaced.

    Raises:
        UsageError: the towers have no adapter.
        OutputError: the folder exists with files in it, or cannot be written.
    """
    with atomic_folder(folder, replace=replace) as temporary:
        lora.write(towers, temporary)
        found = {name: value for name, value in towers.named_parameters() if beside and re.fullmatch(beside, name)}
        if found:
            save_file({name: value.detach().cpu().contiguous() for name, value in found.items()}, temporary / BESIDE)
        for name, value in ((BASE, asdict(base)), (METRICS, metrics)):
            if value is not None:
                text = json.dumps(dict(value), indent=2, ensure_ascii=False, allow_nan=False)
                (temporary / name).write_text(text + "\n", encoding="utf-8")
        if card is not None:
            (temporary / CARD).write_text(card(temporary), encoding="utf-8")
        write_sums(temporary)


def load(towers: DualTower, folder: Path, base: BaseIdentity) -> None:
    """Attach a saved adapter to the towers that it was trained on.

    Args:
        towers: of the checkpoint ``base``; changed in place.
        folder: written by :func:`save`.
        base: what the towers are.

    Raises:
        CheckpointError: the adapter belongs to another base (both hashes are said), or a file is missing or damaged.
    """
    check_base(folder, base)
    lora.load(towers, folder)
    if (folder / BESIDE).is_file():
        try:
            put(towers, load_file(folder / BESIDE), str(folder / BESIDE))
        except (OSError, SafetensorError) as failure:
            raise CheckpointError(f"expected safetensors in {folder / BESIDE}, found: {failure}") from failure


def check_base(folder: Path, base: BaseIdentity) -> None:
    """Make sure that what lies in a folder was trained on ``base``.

    Raises:
        CheckpointError: it was trained on another base (both hashes are said), or the folder does not say on which.
    """
    found = read_base(folder)
    if found.sha256 != base.sha256:
        raise CheckpointError(
            f"expected an adapter for {base.name} with sha256 {base.sha256}, "
            f"found one for {found.name} with sha256 {found.sha256}",
            f"Load the base {found.reference or found.name} that the adapter was trained on.",
        )


def read_base(folder: Path) -> BaseIdentity:
    """Which checkpoint the adapter in a folder was trained on.

    Raises:
        CheckpointError: the folder does not say.
    """
    try:
        written = json.loads((folder / BASE).read_text(encoding="utf-8"))
        name, revision, sha256 = (str(written[key]) for key in ("name", "revision", "sha256"))
        return BaseIdentity(name, revision, sha256, str(written.get("reference", "")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as failure:
        raise CheckpointError(f"expected an adapter in {folder}, found: {failure!r}") from failure


def put(towers: DualTower, parameters: Mapping[str, Tensor], source: str) -> None:
    """Replace parameters of the towers by others of the same names and shapes.

    The towers get parameters of their own: whoever shares the old ones keeps them as they were.

    Args:
        towers: changed in place.
        parameters: full name -> value.
        source: where they come from, named in the error.

    Raises:
        CheckpointError: a name is unknown or a shape differs.
    """
    own = dict(towers.named_parameters())
    for name, value in parameters.items():
        if name not in own or own[name].shape != value.shape or own[name].dtype != value.dtype:
            expected = tuple(own[name].shape) if name in own else "no such parameter"
            raise CheckpointError(
                f"expected the parameters in {source} to fit the towers, found {name} with {tuple(value.shape)} for "
                f"{expected}"
            )
        parent, _, last = name.rpartition(".")
        module = towers.get_submodule(parent)
        new = nn.Parameter(value.to(own[name].device), requires_grad=False)
        setattr(module, last, new)


def twin(towers: DualTower) -> DualTower:
    """Towers of the same weights, which are shared, for an adapter of their own beside those on other twins.

    What is attached or loaded on the twin leaves the original as it is; only the adapter takes memory.
    """
    shared = [*towers.parameters(), *towers.buffers()]
    return copy.deepcopy(towers, {id(value): value for value in shared})


def merge(towers: DualTower) -> None:
    """Add the adapter's updates to the towers' own weights and remove it; see :func:`adapt.lora.merge`.

    Raises:
        UsageError: the towers have no adapter.
    """
    lora.merge(towers)
