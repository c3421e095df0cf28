"""Pretraining data sets, ready for training and for being left out of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from adapt.data.batches import SequenceSource
from adapt.evaluate.metrics import gains_at_k
from adapt.evaluate.ranking import rank_cases
from adapt.features.normalise import Normalisation, SourceStatistics, normalise_catalog, pool_statistics
from adapt.model.inference import embed_items, embed_users
from adapt.model.items import ItemFeatures
from adapt.model.towers import DualTower
from adapt.seeds import generator

_STREAM = 7
_MIXED_STREAM = 8


@dataclass(frozen=True, eq=False)
class RawFeatures:
    """One modality of one catalog as the encoder gave it: float32 (items, width) and bool (items,)."""

    values: NDArray[np.float32]
    present: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PretrainingSource:
    """One data set of pretraining.

    Attributes:
        name: of the data set.
        features: modality -> raw features.
        histories: its interactions (no users for a catalog alone), with the items that have a modality.
        known: the cases that measure it when it is left out: what a user met before the target, oldest first.
        targets: int64 (cases,), the item that followed.
    """

    name: str
    features: Mapping[str, RawFeatures]
    histories: SequenceSource
    known: tuple[NDArray[np.integer], ...]
    targets: NDArray[np.int64]

    @property
    def views(self) -> tuple[str, ...]:
        """The ways in which this source's items can be shown: see :func:`view`."""
        return (*self.features, *(("both", "mixed") if len(self.features) > 1 else ()))


@dataclass(frozen=True, eq=False)
class KnownHistories:
    """Histories as arrays, for evaluation."""

    offsets: NDArray[np.int64]
    items: NDArray[np.integer]


def held_back(ids: Sequence[str], count: int) -> NDArray[np.bool_]:
    """Which items of a catalog are held back: the ``count`` whose ids have the smallest SHA-256.

    Args:
        ids: of the items.
        count: how many; all of them if there are fewer.

    Returns:
        bool (items,). It depends on the ids alone, not on their order.
    """
    digests = [hashlib.sha256(item.encode()).digest() for item in ids]
    chosen = np.zeros(len(ids), dtype=np.bool_)
    chosen[sorted(range(len(ids)), key=digests.__getitem__)[:count]] = True
    return chosen


def without(features: Mapping[str, RawFeatures], rows: NDArray[np.bool_]) -> dict[str, RawFeatures]:
    """The features of a catalog as if the items of ``rows`` (bool, (items,)) had none.

    Such items enter no statistics, no alignment, no history and no candidates.
    """
    return {name: replace(part, present=part.present & ~rows) for name, part in features.items()}


def prepare_source(
    name: str,
    features: Mapping[str, RawFeatures],
    offsets: NDArray[np.int64],
    items: NDArray[np.int32],
    *,
    ordered: bool,
    cases: int,
    seed: int,
) -> PretrainingSource:
    """Draw the cases that measure a source when it is left out.

    A case is a user's last item; where there are fewer users than ``cases``, earlier events of theirs are drawn too.

    Args:
        name: of the data set.
        features: modality -> raw features of its catalog.
        offsets: int64 (users + 1,), where each user's history starts.
        items: int32 (events,) catalog rows.
        ordered: whether the order of events means anything; if not, the source measures nothing and is no sequence.
        cases: how many at most.
        seed: of the draw.
    """
    usable = np.any([part.present for part in features.values()], axis=0)
    source = SequenceSource(name, len(usable), offsets, items, usable, ordered)
    random = generator(seed, _STREAM)
    histories = [items[offsets[user] : offsets[user + 1]] for user in random.permutation(len(offsets) - 1)]
    histories = [history[usable[history]] for history in histories] if ordered else []
    histories = [history for history in histories if len(history) > 1]
    a_user = -(-cases // max(1, len(histories)))
    known: list[NDArray[np.integer]] = []
    targets: list[int] = []
    for history in histories:
        earlier = random.permutation(np.arange(1, len(history) - 1))[: a_user - 1]
        for place in (len(history) - 1, *earlier):
            if history[place] not in history[:place] and len(known) < cases:
                known.append(history[:place])
                targets.append(int(history[place]))
    return PretrainingSource(name, features, source, tuple(known), np.array(targets, dtype=np.int64))


def view(items: ItemFeatures, name: str, seed: int = 0) -> ItemFeatures:
    """The items of a catalog as a view shows them.

    Args:
        items: with all their modalities.
        name: a modality: nothing but that; ``"both"``: everything; ``"mixed"``: of an item that has several
            modalities, only one, drawn at random.
        seed: of that draw.
    """
    if name in items.values:
        return items.only([name])
    if name == "both":
        return items
    names = list(items.present)
    kept = torch.from_numpy(generator(seed, _MIXED_STREAM).integers(len(names), size=len(items)))
    several = torch.stack([items.present[part] for part in names]).sum(dim=0) > 1
    return items.drop({part: several & (kept != number) for number, part in enumerate(names)})


def statistics_of(sources: Sequence[PretrainingSource], dims: Mapping[str, int]) -> dict[str, SourceStatistics]:
    """The pooled statistics of every modality that a source has; ``dims`` limits the directions that are kept."""
    found = {}
    for modality in sorted({name for source in sources for name in source.features}):
        parts = [source.features[modality] for source in sources if modality in source.features]
        catalogs = [part.values[part.present] for part in parts if part.present.sum() > 1]
        found[modality] = pool_statistics(catalogs, dims.get(modality))
    return found


def normalised(
    source: PretrainingSource, statistics: Mapping[str, SourceStatistics], settings: Mapping[str, Normalisation]
) -> ItemFeatures:
    """What the towers read of a source's catalog."""
    values = {
        name: torch.from_numpy(normalise_catalog(part.values, part.present, statistics[name], settings[name])[0])
        for name, part in source.features.items()
    }
    present = {name: torch.from_numpy(np.array(part.present)) for name, part in source.features.items()}
    return ItemFeatures(values, present)


def measure(towers: DualTower, source: PretrainingSource, items: ItemFeatures) -> NDArray[np.float64]:
    """NDCG@10 of each case of a source: full ranking over the items that are usable, seen items excluded.

    A case whose target or whole history is not usable in this view is left out.
    """
    usable = items.any_present.numpy()
    embeddings = embed_items(towers, items, usable)
    known = [history[usable[history]] for history in source.known]
    kept = [number for number, history in enumerate(known) if len(history) and usable[source.targets[number]]]
    known = [known[number] for number in kept]
    if not known:
        return np.zeros(0)
    states = embed_users(towers, known, items, embeddings)
    lengths = [len(history) for history in known]
    histories = KnownHistories(np.concatenate([[0], np.cumsum(lengths)]), np.concatenate(known))
    evaluation = rank_cases(
        lambda cases: states[cases] @ embeddings.T, histories, source.targets[kept], usable, ks=(10,)
    )
    return gains_at_k(evaluation.ranks, 10)
