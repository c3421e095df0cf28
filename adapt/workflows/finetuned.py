"""Recommenders from fine-tuned towers: the towers alone, and fused with what is remembered of other users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from adapt.data.catalog import Dataset, Interactions
from adapt.errors import UsageError
from adapt.hub.format import Checkpoint
from adapt.index.calibrate import Choice
from adapt.index.engine import RemoteSettings
from adapt.memory.fusion import POPULARITY, Fusion
from adapt.memory.memory import EVIDENCE, Prefixes, prefixes_of
from adapt.memory.tuning import ChannelGain, Tuned
from adapt.model.residual import ItemResidual
from adapt.model.towers import DualTower
from adapt.train.finetuning import embed_with_residual
from adapt.workflows.embedding import EmbeddedCatalog
from adapt.workflows.few_shot import FewShotRecommender, memory_for
from adapt.workflows.recommender import Recommender, ZeroShotRecommender, index_of

METHODS = ("zero-shot", "few-shot", "fine-tuned", "fused")
REMEMBERING = ("few-shot", "fused")
"""Those that vote with the histories of other users."""
TOWER = "tower"
"""The channel of the fine-tuned towers in a fusion."""

IndexKind: TypeAlias = "Choice | RemoteSettings"


class FineTunedRecommender(ZeroShotRecommender):
    """Recommends by fine-tuned towers; scores are cosines."""

    method = "fine-tuned"

    def forgetting(self, known: Interactions) -> Recommender | None:
        """None: what was trained on stays in the weights."""
        del known
        return None

    def explained(self) -> tuple[str, ...]:
        return ("The towers were trained on the interactions that the run was given; the score is their cosine.",)


class RememberingRecommender(FewShotRecommender):
    """Few-shot, perhaps with the fine-tuned towers as one more channel, with weights that a run has chosen."""

    def forgetting(self, known: Interactions) -> FewShotRecommender | None:  # type: ignore[override]
        """None: what towers and weights were fitted on stays in them."""
        del known
        return None

    def facts(self) -> dict[str, Any]:
        fusion = self.tuned.fusion
        return {"fusion": {"weights": {"content": fusion.content, **fusion.weights}}}


@dataclass(frozen=True, eq=False)
class Tower:
    """Fine-tuned towers.

    Attributes:
        towers: with their adapter, in eval mode.
        residual: of a catalog's items, by its rows; None = there is none.
        sha256: fingerprint of what was trained.
    """

    towers: DualTower
    residual: ItemResidual | None
    sha256: str = ""

    def recommender(
        self, base: Checkpoint, dataset: Dataset, embedded: EmbeddedCatalog, index: IndexKind = "auto"
    ) -> FineTunedRecommender:
        """Their recommender for a catalog that was embedded by the base."""
        embeddings = embed_with_residual(self.towers, embedded.items, self.residual)
        own = replace(embedded, embeddings=embeddings)
        checkpoint = replace(base, towers=self.towers, sha256=self.sha256)
        return FineTunedRecommender(checkpoint, dataset, own, index_of(dataset, own, index))


@dataclass(frozen=True, eq=False)
class Weighing:
    """The weights of a fusion, and what they were chosen by.

    Attributes:
        fusion: the weights.
        events: held-back events that they were chosen on.
    """

    fusion: Fusion
    events: int

    def tuned(self) -> Tuned:
        """In the form that a few-shot recommender takes."""
        weights = self.fusion.weights
        names = dict.fromkeys([POPULARITY, *EVIDENCE, *weights])
        gains = tuple(ChannelGain(name, weights.get(name, 0.0), 0.0, 0.0) for name in names)
        return Tuned(self.fusion, gains, self.events, 0.0, 0.0, 0.0)

    def to_dict(self) -> dict[str, Any]:
        return {"content": self.fusion.content, "weights": dict(self.fusion.weights), "events": self.events}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Weighing:
        return cls(Fusion(weights=dict(value["weights"]), content=float(value["content"])), int(value["events"]))


def recommender_of(
    method: str,
    zero: ZeroShotRecommender,
    tower: FineTunedRecommender,
    known: Interactions,
    weighings: Mapping[str, Weighing],
    *,
    prefixes: Prefixes | None = None,
    seed: int = 0,
) -> Recommender:
    """The recommender of a method from the parts that all of them are made of.

    Args:
        method: one of :data:`METHODS`.
        zero: the base.
        tower: fine-tuned.
        known: the interactions to remember, by the catalog's rows.
        weighings: of ``"few-shot"`` and ``"fused"``.
        prefixes: user states of ``known``, where they were computed before.
        seed: of the graph over the states.

    Raises:
        UsageError: there is no such method.
    """
    if method not in METHODS:
        raise UsageError(f"expected a method among {', '.join(METHODS)}, found {method!r}")
    if method == "zero-shot":
        return zero
    if method == "fine-tuned":
        return tower
    tuned = weighings[method].tuned()
    if prefixes is None:
        prefixes = prefixes_of(known, zero.states)
    memory = memory_for(known, len(zero.embedded.usable), prefixes, tuned, seed)
    further = {TOWER: tower.score_histories} if method == "fused" else {}
    return RememberingRecommender(zero, memory, tuned, prefixes, further)


def residual_for(
    ids: Sequence[str], known: Mapping[str, int], delta: NDArray[np.float32], columns: NDArray[np.int64], norm: float
) -> ItemResidual:
    """The residual of a run for another catalog: items that it knows keep their vector, others have none.

    Args:
        ids: of the catalog, row by row.
        known: item id -> row of ``delta``.
        delta: float32 (warm items of the run, width).
        columns: int64 (width,).
        norm: longest residual; 0 = no bound.
    """
    place = np.array([known.get(item, -1) for item in ids], np.int64)
    warm = place >= 0
    residual = ItemResidual(torch.from_numpy(warm), torch.from_numpy(columns), norm)
    with torch.no_grad():
        residual.delta.copy_(torch.from_numpy(delta[place[warm]]))
    return residual
