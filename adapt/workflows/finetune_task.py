"""The task of a fine-tune: a copy of the towers in the dimensions that the catalog uses, and which of it moves how."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from adapt import adapters, ranks
from adapt.data.batches import SequenceSource
from adapt.data.catalog import Interactions
from adapt.errors import UsageError
from adapt.model.content import ContentTowers
from adapt.model.inference import embed_items
from adapt.model.items import ItemFeatures
from adapt.model.narrow import narrowed, widen
from adapt.model.residual import ItemResidual, used_columns
from adapt.model.towers import DualTower
from adapt.train.finetuning import (
    BESIDE_LORA,
    HEAD,
    FineTunedTowers,
    FineTuning,
    HeldBackEvents,
    make_sampler,
    train_only,
    trains_items,
)
from adapt.train.loop import ParameterGroup
from adapt.workflows.finetune_settings import Adaptation, TrainingSettings


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a training reads.

    Attributes:
        items: what the towers read of the catalog.
        known: the events that are trained on.
        held_back: the events that early stopping goes by; None = the schedule is followed to the end.
    """

    items: ItemFeatures
    known: Interactions
    held_back: HeldBackEvents | None = None


def beside_lora(towers: DualTower) -> str:
    """The parameters that are trained as they are beside the low-rank updates, as a regular expression."""
    return _of_class(BESIDE_LORA, towers)


def _of_class(patterns: Mapping[type, str], towers: DualTower) -> str:
    return next((pattern for kind, pattern in patterns.items() if isinstance(towers, kind)), "")


def check_adaptation(towers: DualTower, adaptation: Adaptation) -> None:
    """Make sure that the towers can be adapted so.

    Raises:
        UsageError: a residual is asked for on towers whose user tower does not read item embeddings; or the rank is
            below 1.
    """
    if adaptation.residual and not isinstance(towers, ContentTowers):
        raise UsageError(
            "expected towers of the architecture content for an item residual, found mmsrec, whose user tower reads "
            "features and no item embeddings",
            "Use --no-item-residual, or another checkpoint.",
        )
    if adaptation.kind == "lora" and adaptation.rank < 1:
        raise UsageError(f"expected a LoRA rank of at least 1, found {adaptation.rank}", "8 is the default.")


def trainable_towers(base: DualTower, adaptation: Adaptation, seed: int) -> DualTower:
    """A copy of the towers of which only what is to be adapted is trained."""
    torch.manual_seed(seed)
    towers = copy.deepcopy(base)
    if adaptation.kind == "lora":
        adapters.attach(towers, rank=adaptation.rank, alpha=adaptation.alpha, beside=beside_lora(towers))
    else:
        train_only(towers, _of_class(HEAD, towers) if adaptation.kind == "head" else r".*")
    return towers


@dataclass(frozen=True, eq=False)
class Setup:
    """What one training is made of.

    Attributes:
        base: the towers, as they are.
        adaptation, settings, seed: what is trained, and how.
        task: of the loop; its towers are narrow where the catalog leaves dimensions empty.
        warm: bool (items,), the items with a training event.
        columns: int64, the dimensions that the catalog uses; None = the towers are not of a kind that can do with some.
    """

    base: DualTower
    adaptation: Adaptation
    settings: TrainingSettings
    seed: int
    task: FineTuning
    warm: Tensor
    columns: Tensor | None

    @classmethod
    def of(
        cls, base: DualTower, data: TrainingData, adaptation: Adaptation, settings: TrainingSettings, seed: int
    ) -> Setup:
        """Set a training up.

        Raises:
            DataError: no history has two usable items.
        """
        usable = data.items.any_present
        warm = torch.zeros(len(usable), dtype=torch.bool)
        warm[torch.from_numpy(data.known.items).long()] = True
        warm &= usable
        narrow, residual, content, columns = base, None, None, None
        if isinstance(base, ContentTowers):
            content = torch.from_numpy(embed_items(base.eval(), data.items, usable.numpy()))
            columns = used_columns(content, base.dim)
            narrow, content = narrowed(base, columns), content[:, columns]
            if adaptation.residual:
                # Of a few rows among many; processes add dense gradients up.
                width = torch.arange(narrow.inner)
                residual = ItemResidual(warm, width, settings.residual_norm, sparse=ranks.count() == 1)
        towers = trainable_towers(narrow, adaptation, seed)
        source = SequenceSource("known", len(usable), data.known.offsets, data.known.items, usable.numpy())
        sampler = make_sampler(source, towers, settings.targets, settings.negatives, seed)
        kept = None if trains_items(towers) else content
        module = FineTunedTowers(towers, residual, settings.temperature, settings.residual_penalty, kept)
        task = FineTuning(module, sampler, data.items, _groups(module, settings), data.held_back)
        return cls(base, adaptation, settings, seed, task, warm, columns)

    def widened(self) -> tuple[DualTower, ItemResidual | None]:
        """What was trained, in all dimensions of the base, in eval mode on the CPU."""
        trained = self.task.module.cpu()
        if self.columns is None or not isinstance(self.base, ContentTowers):
            return trained.towers.eval(), trained.residual
        towers = trainable_towers(self.base, self.adaptation, self.seed)
        widen(towers, trained.towers, self.columns)
        if trained.residual is None:
            return towers.eval(), None
        inner = self.columns[self.columns < self.base.inner]
        residual = ItemResidual(self.warm, inner, self.settings.residual_norm)
        residual.load_state_dict(trained.residual.state_dict())
        return towers.eval(), residual


def _groups(module: FineTunedTowers, settings: TrainingSettings) -> list[ParameterGroup]:
    """Matrices are decayed, scalars move faster, the residual has an epsilon of its own and a penalty instead."""
    pattern = _of_class(HEAD, module.towers)
    trained = [(name, value) for name, value in module.towers.named_parameters() if value.requires_grad]
    head = [value for name, value in trained if re.fullmatch(pattern, name) and value.ndim]
    others = [value for name, value in trained if not re.fullmatch(pattern, name) and value.ndim]
    scalars = [*(value for _, value in trained if not value.ndim), module.log_temperature]
    groups = [
        ParameterGroup([p for p in head if p.ndim > 1], weight_decay=settings.weight_decay),
        ParameterGroup([p for p in head if p.ndim == 1]),
        ParameterGroup([p for p in others if p.ndim > 1], settings.tower_rate, settings.weight_decay),
        ParameterGroup([p for p in others if p.ndim == 1], settings.tower_rate),
        ParameterGroup(scalars, settings.scalar_rate),
    ]
    if module.residual is not None:
        groups.append(
            ParameterGroup([module.residual.delta], settings.residual_rate, epsilon=settings.residual_epsilon)
        )
    return [group for group in groups if group.parameters]
