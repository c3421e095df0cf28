"""Whether something that is shared is what its author made, and gives on this machine what it gave there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from adapt.errors import AdaptError, CheckpointError
from adapt.files import SUMS, read_sums
from adapt.hub.adapter import Adapter
from adapt.hub.card_check import check_card
from adapt.hub.format import Checkpoint
from adapt.hub.golden import TOLERANCE
from adapt.hub.kinds import Kind, kind_of
from adapt.hub.pull import fingerprint, moved_on, needed_by
from adapt.hub.resolve import Located, locate
from adapt.hub.share import ITEM_FILES
from adapt.hub.sums import GOLDEN
from adapt.progress import SILENT, Progress
from adapt.workflows.checks import Check

_CARD = "README.md"


@dataclass(frozen=True)
class Verified:
    """What was looked at.

    Attributes:
        reference: pinned.
        kind: what it is.
        folder: on this machine.
        commit: of a repository on the Hub; else empty.
        newest: the commit of its main branch, where another one was asked for by name; else empty.
        checks: in order; those that need what an earlier one found broken are left out.
    """

    reference: str
    kind: Kind
    folder: str
    commit: str
    newest: str
    checks: tuple[Check, ...]

    @property
    def sound(self) -> bool:
        """Whether no check failed."""
        return all(check.passed is not False for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "sound": self.sound, "checks": [asdict(check) for check in self.checks]}


def verify(
    reference: str,
    *,
    revision: str = "",
    allow_download: bool = False,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> Verified:
    """Look at every byte, load strictly, and compute the golden outputs again.

    What only an index or a run needs is imported where it is: it takes longer than verifying a checkpoint.

    Args:
        reference: of a checkpoint, an adapter or an index, or the folder of a fine-tuned run.
        revision: branch, tag or commit of a repository on the Hub, in place of one in ``reference``.
        allow_download: whether the base of a local adapter, or an encoder that an index needs, may be fetched.
        device: where it is computed.
        progress: told when a branch or tag has moved.

    Raises:
        CheckpointError: there is nothing that could be looked at.
        HubError: the repository cannot be had.
        UsageError: the reference has none of the known forms, or there is no such device.
    """
    located = locate(reference, revision, progress)
    kind = kind_of(located.folder)
    looks: dict[Kind, Callable[[], Iterator[Check]]] = {
        "checkpoint": lambda: _checkpoint(located, device),
        "adapter": lambda: _adapter(located, allow_download, device),
        "index": lambda: _index(located, allow_download, device, progress),
        "run": lambda: _run(located, device),
    }
    return Verified(located.pinned, kind, str(located.folder), located.commit, moved_on(located), tuple(looks[kind]()))


def _checkpoint(located: Located, device: str) -> Iterator[Check]:
    yield (hashes := _check("hashes", lambda: _hashes(located, "checkpoint")))
    yield _check("card", lambda: _card(located.folder))
    if not hashes.passed:
        return
    read: list[Checkpoint] = []
    yield _check("loads", lambda: _loads(str(located.folder), device, read))
    if read:
        yield _check("feature spec", lambda: _spec(read[0]))
        yield _check("golden outputs", lambda: _golden(read[0], located.folder))


def _adapter(located: Located, allow_download: bool, device: str) -> Iterator[Check]:
    yield (hashes := _check("hashes", lambda: _hashes(located, "adapter")))
    yield _check("card", lambda: _card(located.folder))
    if hashes.passed:
        yield _check("base", lambda: needed_by(located.folder, "adapter"))
        yield (loads := _check("loads", lambda: _merged(Adapter.at(located), allow_download, device)))
        if loads.passed and set(ITEM_FILES) & set(read_sums(located.folder)):
            yield _check("items", lambda: _items(located, allow_download, device))


def _index(located: Located, allow_download: bool, device: str, progress: Progress) -> Iterator[Check]:
    if (located.folder / SUMS).is_file():  # an index that was made to be shared
        yield (hashes := _check("hashes", lambda: _hashes(located, "index")))
        yield _check("card", lambda: _card(located.folder))
        if not hashes.passed:
            return
    from adapt.workflows.index_facts import verify as verify_index

    yield from verify_index(located.folder, allow_download=allow_download, device=device, progress=progress)


def _run(located: Located, device: str) -> Iterator[Check]:
    from adapt.workflows.run import Run

    def loads() -> str:
        run = Run.at(located, device=device)
        return f"{len(run.record['files'])} files, on {run.base.config.name}; recommends by {run.chosen}"

    yield _check("loads", loads)


def _check(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except AdaptError as failure:
        return Check(name, False, failure.message)


def _hashes(located: Located, kind: Kind) -> str:
    sha256 = fingerprint(located, kind)
    return f"{len(read_sums(located.folder))} files have the bytes that were written; sha256 {sha256}"


def _card(folder: Path) -> str:
    try:
        text = (folder / _CARD).read_text(encoding="utf-8")
    except (OSError, ValueError) as failure:
        raise CheckpointError(f"expected a card in {folder / _CARD}, found: {failure}") from failure
    data = check_card(text, str(folder / _CARD))
    return f"metadata that the Hub takes; licence {data['license']}"


def _loads(reference: str, device: str, read: list[Checkpoint]) -> str:
    read.append(Checkpoint.from_pretrained(reference, device=device))
    count = sum(value.numel() for value in read[0].towers.parameters())
    return f"{read[0].config.architecture} towers of {count:,} parameters, every key and tensor known"


def _spec(checkpoint: Checkpoint) -> str:
    """Every encoder is named so that no other can take its place."""
    parts = []
    for modality, encoder in checkpoint.spec.encoders.items():
        missing = [name for name, value in (("name", encoder.name), ("dim", encoder.dim)) if not value]
        if not encoder.id and encoder.kind != "precomputed":
            missing.append("id")
        if missing:
            raise CheckpointError(f"expected {', '.join(missing)} of the {modality} encoder in feature_spec.json")
        if encoder.modality != modality:
            raise CheckpointError(f"expected a {modality} encoder, found that it reads {encoder.modality}")
        if encoder.sketch != checkpoint.spec.normalisation[modality].sketch:
            raise CheckpointError(f"expected one width of the sketch of {modality}, found two in feature_spec.json")
        parts.append(f"{modality}: {encoder.kind} {encoder.name}, {encoder.dim} wide")
    return "; ".join(parts)


def _golden(checkpoint: Checkpoint, folder: Path) -> str:
    if checkpoint.golden is None:
        raise CheckpointError(f"no golden outputs: expected {GOLDEN} in {folder}, found none")
    error = checkpoint.golden.error(checkpoint.towers)
    if not error <= TOLERANCE:
        raise CheckpointError(
            f"expected the golden embeddings to within {TOLERANCE:g}, found a difference of {error:.2g}"
        )
    items, users = len(checkpoint.golden.item_embeddings), len(checkpoint.golden.user_embeddings)
    return f"{items} items and {users} histories give their embeddings to within {error:.1g} (allowed: {TOLERANCE:g})"


def _merged(adapter: Adapter, allow_download: bool, device: str) -> str:
    merged = adapter.checkpoint(allow_download=allow_download, device=device)
    if not all(bool(torch.isfinite(value).all()) for value in merged.towers.parameters()):
        raise CheckpointError(f"expected finite weights of {adapter.folder} on its base, found NaN or infinity")
    return f"fits its base {adapter.base.name}, sha256 {adapter.base.sha256[:16]}...; together {merged.sha256}"


def _items(located: Located, allow_download: bool, device: str) -> str:
    from adapt.workflows.run import Run

    items = Run.at(located, allow_download=allow_download, device=device).items
    return f"{len(items.ids):,} item ids, {len(items.rows):,} of them with a residual; no histories"
