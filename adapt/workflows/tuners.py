"""The two kinds of text encoder that `adapt pretrain` tunes, behind one interface."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from adapt.data import Dataset
from adapt.errors import UsageError
from adapt.features.adapted import write_adapter
from adapt.features.base import Encoder, EncoderSpec
from adapt.features.lazy import loaded
from adapt.features.load import load_encoder
from adapt.features.normalise import Normalisation
from adapt.features.static import StaticEncoder, load_static
from adapt.features.static_delta import write_delta
from adapt.features.store import FeatureStore
from adapt.features.transformers import TransformersEncoder
from adapt.files import bundled
from adapt.progress import SILENT, Progress
from adapt.train.loop import Task
from adapt.train.sources import PretrainingSource, RawFeatures, prepare_source
from adapt.train.static_tuning import Measured, StaticTuning, TunedTable, measure_text, token_lists
from adapt.train.transformer_tuning import TransformerTuning, TunedTransformer, tokenised
from adapt.workflows.embedding import events_of
from adapt.workflows.recipe import Recipe

_CONTEXT = 20


class TuningTask(Task, Protocol):
    """A task of the loop that measures what it does to left-out domains."""

    measured: list[Measured]


class Tuner(Protocol):
    """One kind of text encoder, with the sources of a run."""

    base: str
    """What the tuned encoder starts from, for the card."""

    @property
    def sources(self) -> Sequence[PretrainingSource]:
        """Every data set of the run, in its order."""
        ...

    def start(self, number: int) -> NDArray[np.float64]:
        """NDCG@10 of each case of a source with the untuned encoder."""
        ...

    def task(self, kept: Sequence[int], left_out: Sequence[int]) -> TuningTask:
        """Tuning on some sources, measured on others."""
        ...

    def write(self, folder: Path, task: TuningTask | None, share: float) -> None:
        """Write the encoder, moved a share of the way to the tuned weights of ``task``, into an existing folder."""
        ...


def make_tuner(recipe: Recipe, datasets: Sequence[Dataset], progress: Progress = SILENT) -> Tuner:
    """The tuner for the text encoder of a recipe.

    Raises:
        UsageError: the recipe has no text encoder of a kind that can be tuned.
        CheckpointError: the encoder is not to be had.
    """
    spec = recipe.encoders.get("text")
    if spec is not None and spec.kind == "static" and spec.name.startswith("bundled:"):
        return StaticTuner(recipe, datasets, spec, progress)
    if spec is not None and spec.kind == "transformers" and not spec.adapter:
        return TransformerTuner(recipe, datasets, spec, progress)
    raise UsageError(
        "expected a bundled static text encoder or one of transformers in the recipe, found "
        + (f"{spec.kind} {spec.name}" if spec else "no text encoder")
    )


def _normalisation(recipe: Recipe) -> Normalisation:
    return Normalisation(power=recipe.structure.power[0], prior_count=recipe.prior_count)


def _sources(
    recipe: Recipe, datasets: Sequence[Dataset], encoder: Encoder, progress: Progress
) -> list[PretrainingSource]:
    store, sources = FeatureStore(), []
    for data in datasets:
        part = store.features(encoder, data.catalog, progress=progress)
        features = {"text": RawFeatures(np.asarray(part.values), np.asarray(part.present))}
        offsets, items = events_of(data)
        ordered = data.name not in recipe.unordered
        sources.append(
            prepare_source(data.name, features, offsets, items, ordered=ordered, cases=recipe.cases, seed=recipe.seed)
        )
    return sources


class StaticTuner:
    """Tunes the rows of a bundled static table; see :mod:`adapt.train.static_tuning`."""

    def __init__(self, recipe: Recipe, datasets: Sequence[Dataset], spec: EncoderSpec, progress: Progress) -> None:
        self._recipe = recipe
        self.base = spec.name.removeprefix("bundled:")
        self._folder = bundled("pretrained") / self.base
        self._encoder: StaticEncoder = load_static(self._folder, spec.max_length)
        self.sources = _sources(recipe, datasets, self._encoder, progress)
        self._texts = [data.catalog.texts for data in datasets]

    def start(self, number: int) -> NDArray[np.float64]:
        source = self.sources[number]
        settings, recency = _normalisation(self._recipe), self._recipe.structure.recency[0]
        return measure_text(self._encoder.encode(self._texts[number]), source, settings, recency)

    def task(self, kept: Sequence[int], left_out: Sequence[int]) -> StaticTuning:
        recipe, settings = self._recipe, _normalisation(self._recipe)
        recency = recipe.structure.recency[0]
        return StaticTuning(
            module=TunedTable(self._encoder.table, recency, recipe.objectives.temperature),
            sources=[token_lists(self._encoder, self._texts[n], self.sources[n], settings) for n in kept],
            batch_size=recipe.objectives.batch_size,
            length=_CONTEXT,
            seed=recipe.seed,
            encoder=self._encoder,
            settings=settings,
            recency=recency,
            left_out=[(self.sources[number], self._texts[number]) for number in left_out],
            mixtures=recipe.mixtures,
            source_temperature=recipe.objectives.source_temperature,
        )

    def write(self, folder: Path, task: TuningTask | None, share: float) -> None:
        added = np.zeros_like(self._encoder.table)
        if isinstance(task, StaticTuning):
            added = share * (task.module.table.detach().cpu().numpy() - self._encoder.table)
        write_delta(folder, self._folder, added)


class TransformerTuner:
    """Tunes a transformer by LoRA; see :mod:`adapt.train.transformer_tuning`."""

    def __init__(self, recipe: Recipe, datasets: Sequence[Dataset], spec: EncoderSpec, progress: Progress) -> None:
        self._recipe = recipe
        self.base = spec.name
        encoder = loaded(load_encoder(spec))
        assert isinstance(encoder, TransformersEncoder)
        self._encoder = encoder
        self.sources = _sources(recipe, datasets, encoder, progress)
        settings, length = _normalisation(recipe), recipe.tuning.max_length
        self._tokenised = [
            tokenised(encoder, data.catalog.texts, source, settings, length)
            for data, source in zip(datasets, self.sources, strict=True)
        ]

    def start(self, number: int) -> NDArray[np.float64]:
        source = self.sources[number]
        values = np.asarray(source.features["text"].values)
        return measure_text(values, source, _normalisation(self._recipe), self._recipe.structure.recency[0])

    def task(self, kept: Sequence[int], left_out: Sequence[int]) -> TransformerTuning:
        recipe, tuning = self._recipe, self._recipe.tuning
        recency = recipe.structure.recency[0]
        return TransformerTuning(
            module=self._module(),
            sources=[self._tokenised[number] for number in kept],
            batch_size=recipe.objectives.batch_size,
            length=tuning.window,
            negatives=0 if recipe.objectives.negatives == "all" else recipe.objectives.negatives,
            seed=recipe.seed,
            settings=_normalisation(recipe),
            recency=recency,
            left_out=[self._tokenised[number] for number in left_out],
            mixtures=recipe.mixtures,
            source_temperature=recipe.objectives.source_temperature,
        )

    def write(self, folder: Path, task: TuningTask | None, share: float) -> None:
        module = task.module if isinstance(task, TransformerTuning) else self._module()
        write_adapter(module.model, self._encoder, folder, share)

    def _module(self) -> TunedTransformer:
        recipe, tuning = self._recipe, self._recipe.tuning
        return TunedTransformer(
            self._encoder, tuning.rank, tuning.alpha, recipe.structure.recency[0], recipe.objectives.temperature
        )
