"""The few structure parameters of a checkpoint, chosen on the source domains with training-free towers.

They say how features are read, not what is liked: the power of each modality's whitening, the decay of a history, the
weight of a modality beside the anchor, how much of it goes into the shared block, and what it is worth alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from adapt.config import config
from adapt.errors import UsageError
from adapt.features.normalise import Normalisation, SourceStatistics
from adapt.model.content import ANCHOR, ContentTowers
from adapt.model.items import ItemFeatures
from adapt.progress import SILENT, Progress
from adapt.train.alignment_start import AnchorMap, align_projections, fit_maps
from adapt.train.sources import PretrainingSource, measure, normalised, view

Setting = tuple[float, ...]


@config
class StructureGrid:
    """The values that are tried.

    Attributes:
        power: of the whitening.
        recency: decay of a history item's weight per place.
        weight: share of a modality beside the anchor in an item that has both.
        shared: length of a modality's features in the shared block.
        alone: length of an item that has nothing but the modality; other lengths than 1 need towers with slack.
        sketch: share of a text's squared length that its lexical sketch has, where there is one.
    """

    power: list[float] = field(default_factory=lambda: [0.0, 0.25, 0.5, 0.75, 1.0])
    recency: list[float] = field(default_factory=lambda: [0.1, 0.2, 0.3, 0.4, 0.6, 0.8])
    weight: list[float] = field(default_factory=lambda: [0.1, 0.2, 0.3, 0.5])
    shared: list[float] = field(default_factory=lambda: [0.3, 0.5, 0.7, 0.9])
    alone: list[float] = field(default_factory=lambda: [1.0])
    sketch: list[float] = field(default_factory=lambda: [0.1, 0.2, 0.3])


@dataclass(frozen=True)
class Structure:
    """One choice of the structure parameters; see :class:`StructureGrid`. By modality where it differs by modality."""

    power: Mapping[str, float]
    recency: float = 0.4
    weight: Mapping[str, float] = field(default_factory=dict)
    shared: Mapping[str, float] = field(default_factory=dict)
    alone: Mapping[str, float] = field(default_factory=dict)
    sketch: float = 0.2


@dataclass(frozen=True)
class Choice:
    """One step of the search.

    Attributes:
        names: of the parameters, in the order of a setting.
        setting: the values chosen from all sources.
        scores: setting -> case -> NDCG@10; a case is a source in a view.
        left_out: source -> (the setting that the other sources choose, its NDCG@10 there, the best NDCG@10 there);
            empty where only one source could be measured.
    """

    names: tuple[str, ...]
    setting: Setting
    scores: Mapping[Setting, Mapping[tuple[str, str], float]]
    left_out: Mapping[str, tuple[Setting, float, float]]


@dataclass(frozen=True, eq=False)
class StructureSearch:
    """What the search needs: the sources, their pooled statistics, untrained towers, and the width of each sketch."""

    sources: Sequence[PretrainingSource]
    statistics: Mapping[str, SourceStatistics]
    build: Callable[[], ContentTowers]
    prior_count: float
    sketches: Mapping[str, int] = field(default_factory=dict)

    def items(self, structure: Structure) -> list[ItemFeatures]:
        """What the towers read of each source's catalog."""
        settings = self.normalisation(structure)
        return [normalised(source, self.statistics, settings) for source in self.sources]

    def normalisation(self, structure: Structure) -> dict[str, Normalisation]:
        """The normalisation of each modality."""
        return {
            name: Normalisation(
                power=structure.power.get(name, 0.5),
                prior_count=self.prior_count,
                sketch=self.sketches.get(name, 0),
                sketch_weight=structure.sketch,
            )
            for name in self.statistics
        }

    def towers(self, structure: Structure, items: Sequence[ItemFeatures]) -> ContentTowers:
        """Training-free towers with a structure, their modalities aligned in closed form on ``items``."""
        return self.towers_with(structure, fit_maps(self.build(), items))

    def towers_with(self, structure: Structure, maps: Mapping[str, AnchorMap]) -> ContentTowers:
        """The same with maps that are already fitted.

        Raises:
            UsageError: an item of one modality is to be shorter than unit length, and the towers have no slack.
        """
        towers = self.build()
        towers.set_recency(structure.recency)
        with torch.no_grad():
            for name, weight in structure.weight.items():
                towers.modality_weight[name].fill_(math.sqrt(weight))
                if ANCHOR in towers.modalities:
                    towers.modality_weight[ANCHOR].fill_(math.sqrt(1 - weight))
            for name, length in structure.alone.items():
                if towers.has_slack:
                    towers.alone[name].fill_(length)
                elif length != 1:
                    raise UsageError(
                        f"expected towers with slack for items of length {length:g}, found none",
                        "Set towers.slack to true in the recipe, or structure.alone to [1.0].",
                    )
        align_projections(towers, maps, shared=structure.shared)
        return towers.eval()

    def run(self, grid: StructureGrid, progress: Progress = SILENT) -> tuple[Structure, list[Choice]]:
        """Choose step by step: power, recency and sketch of each modality alone, then how modalities go together.

        Where no source has histories over several modalities, the first values of the grid say how they go together.
        """
        structure = Structure(dict.fromkeys(self.statistics, 0.5))
        choices: list[Choice] = []
        for name in sorted(self.statistics, key=lambda name: name != ANCHOR):
            recencies = grid.recency if not choices else [structure.recency]
            settings = [(power, recency) for power in grid.power for recency in recencies]
            cases = self._cases([name])
            if not cases:
                continue
            choice = choose(("power", "recency"), settings, cases, self._scorer(name, structure), progress)
            power, recency = choice.setting
            structure = replace(structure, power={**structure.power, name: power}, recency=recency)
            choices.append(choice)
            if self.sketches.get(name):
                shares: list[Setting] = [(share,) for share in grid.sketch]
                choice = choose(("sketch",), shares, cases, self._sketch_scorer(name, structure), progress)
                structure = replace(structure, sketch=choice.setting[0])
                choices.append(choice)
        for name in self.statistics:
            cases = self._cases(["both", "mixed"])
            if name == ANCHOR or ANCHOR not in self.statistics:
                continue
            if not cases:
                structure = _fused(structure, name, (grid.weight[0], grid.shared[0], grid.alone[0]))
                continue
            fusions: list[Setting] = list(itertools.product(grid.weight, grid.shared, grid.alone))
            scorer = self._fusion_scorer(name, structure)
            choice = choose(("weight", "shared", "alone"), fusions, cases, scorer, progress)
            structure = _fused(structure, name, choice.setting)
            choices.append(choice)
        return structure, choices

    def _cases(self, views: Sequence[str]) -> list[tuple[str, str]]:
        return [(s.name, name) for s in self.sources for name in views if name in s.views and _measurable(s, name)]

    def _scorer(self, modality: str, structure: Structure) -> Callable[[Setting, tuple[str, str]], float]:
        """NDCG@10 of one modality alone."""
        by_name = {source.name: source for source in self.sources}
        cache: dict[tuple[str, float], ItemFeatures] = {}

        def score(setting: Setting, case: tuple[str, str]) -> float:
            power, recency = setting
            tried = replace(structure, power={**structure.power, modality: power}, recency=recency)
            source = by_name[case[0]]
            if (source.name, power) not in cache:
                items = normalised(source, self.statistics, self.normalisation(tried))
                cache[source.name, power] = view(items, modality)
            return float(measure(self.towers(tried, []), source, cache[source.name, power]).mean())

        return score

    def _sketch_scorer(self, modality: str, structure: Structure) -> Callable[[Setting, tuple[str, str]], float]:
        """NDCG@10 of one modality alone with a share of its sketch."""
        by_name = {source.name: source for source in self.sources}

        def score(setting: Setting, case: tuple[str, str]) -> float:
            tried = replace(structure, sketch=setting[0])
            source = by_name[case[0]]
            items = view(normalised(source, self.statistics, self.normalisation(tried)), modality)
            return float(measure(self.towers(tried, []), source, items).mean())

        return score

    def _fusion_scorer(self, modality: str, structure: Structure) -> Callable[[Setting, tuple[str, str]], float]:
        """NDCG@10 of modalities together; the map between them is fitted without the source that is measured."""
        items = self.items(structure)
        places = {source.name: number for number, source in enumerate(self.sources)}
        maps: dict[str, Mapping[str, AnchorMap]] = {}

        def score(setting: Setting, case: tuple[str, str]) -> float:
            number = places[case[0]]
            if case[0] not in maps:
                maps[case[0]] = fit_maps(self.build(), [*items[:number], *items[number + 1 :]])
            towers = self.towers_with(_fused(structure, modality, setting), maps[case[0]])
            return float(measure(towers, self.sources[number], view(items[number], case[1])).mean())

        return score


def _fused(structure: Structure, modality: str, setting: Setting) -> Structure:
    """The structure with a choice of how a modality goes together with the anchor."""
    weight, shared, alone = setting
    return replace(
        structure,
        weight={**structure.weight, modality: weight},
        shared={**structure.shared, modality: shared},
        alone={**structure.alone, modality: alone},
    )


def _measurable(source: PretrainingSource, name: str) -> bool:
    """Whether a case of the source remains in a view: its target and something of its history are usable there."""
    parts = [source.features[name]] if name in source.features else list(source.features.values())
    usable = np.any([part.present for part in parts], axis=0)
    return any(
        usable[target] and usable[known].any() for known, target in zip(source.known, source.targets, strict=True)
    )


def pack_structure(found: tuple[Structure, list[Choice]]) -> list[Any]:
    """A structure and how it was chosen, for :mod:`adapt.train.records`."""
    structure, choices = found
    fields = (structure.power, structure.recency, structure.weight, structure.shared, structure.alone, structure.sketch)
    packed = [dict(part) if isinstance(part, Mapping) else part for part in fields]
    tables = [[c.names, c.setting, {s: dict(t) for s, t in c.scores.items()}, dict(c.left_out)] for c in choices]
    return [packed, tables]


def unpack_structure(value: Any) -> tuple[Structure, list[Choice]]:
    """The inverse of :func:`pack_structure`."""
    fields, tables = value
    return Structure(*fields), [Choice(*table) for table in tables]


def choose(
    names: tuple[str, ...],
    settings: Sequence[Setting],
    cases: Sequence[tuple[str, str]],
    score: Callable[[Setting, tuple[str, str]], float],
    progress: Progress = SILENT,
) -> Choice:
    """Measure every setting on every case and choose.

    The choice maximises the mean over cases of the score relative to the case's best one, so that no domain decides by
    its size.

    Args:
        names: of the parameters.
        settings: the grid.
        cases: (source, view).
        score: NDCG@10 of a setting on a case.
        progress: told the measurements done.

    Returns:
        The choice from all cases, with what each source would have got from the choice of the others.
    """
    scores: dict[Setting, dict[tuple[str, str], float]] = {setting: {} for setting in settings}
    with progress.task(f"structure: {', '.join(names)}", len(settings) * len(cases), "measurements") as advance:
        for setting in settings:
            for case in cases:
                scores[setting][case] = score(setting, case)
                advance(1)
    best = {case: max(scores[setting][case] for setting in settings) for case in cases}
    left_out = {}
    sources = sorted({source for source, _ in cases})
    for source in sources if len(sources) > 1 else ():
        chosen = _best(scores, best, [case for case in cases if case[0] != source])
        own = [case for case in cases if case[0] == source]
        reached, most = (float(np.mean([table[case] for case in own])) for table in (scores[chosen], best))
        left_out[source] = (chosen, reached, most)
    return Choice(names, _best(scores, best, cases), scores, left_out)


def _best(
    scores: Mapping[Setting, Mapping[tuple[str, str], float]],
    best: Mapping[tuple[str, str], float],
    cases: Sequence[tuple[str, str]],
) -> Setting:
    """The first setting with the largest mean relative score."""
    return max(scores, key=lambda setting: np.mean([scores[setting][case] / max(best[case], 1e-9) for case in cases]))
