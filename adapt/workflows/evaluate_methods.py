"""The methods that are compared, by name, from the simplest to the one that takes most."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from adapt.data import Dataset, Interactions
from adapt.errors import UsageError
from adapt.evaluate import baselines
from adapt.evaluate.baselines import Scorer
from adapt.evaluate.content import Treatment, content_baseline
from adapt.evaluate.ease import ease
from adapt.evaluate.histories import HistoryLists
from adapt.features.store import Features
from adapt.hub.format import Checkpoint
from adapt.progress import SILENT, Progress
from adapt.workflows import training_free
from adapt.workflows.embedding import EmbeddedCatalog, embed_catalog, encode_catalog
from adapt.workflows.evaluate_runs import Trainings, options_of, unknown_events
from adapt.workflows.evaluate_verdict import Group
from adapt.workflows.few_shot import remember
from adapt.workflows.finetune import FinetuneOptions
from adapt.workflows.recommender import Recommender, ZeroShotRecommender, index_of
from adapt.workflows.run import Run

HistoryScorer = Callable[[HistoryLists], Scorer]
"""Histories to what scores the catalog for them, by their number."""


@dataclass(frozen=True, eq=False)
class Bench:
    """What methods are made from.

    Attributes:
        checkpoint: whose towers are evaluated.
        dataset: the catalog; the interactions in it are for nobody to learn from.
        embedded: the catalog in the checkpoint's space.
        seed: of everything that is drawn.
        allow_download: whether an encoder may be fetched from the Hub.
        device: where encoders and towers run.
        progress: told what takes long.
        trainings: fine-tunes that several methods share.
    """

    checkpoint: Checkpoint
    dataset: Dataset
    embedded: EmbeddedCatalog
    seed: int = 0
    allow_download: bool = False
    device: str = "cpu"
    progress: Progress = SILENT
    trainings: Trainings = field(default_factory=Trainings)

    @property
    def items(self) -> int:
        """Number of items in the catalog."""
        return len(self.dataset.catalog)

    @cached_property
    def zero_shot(self) -> ZeroShotRecommender:
        """The checkpoint's recommender."""
        index = index_of(self.dataset, self.embedded, "exact", self.seed)
        return ZeroShotRecommender(self.checkpoint, self.dataset, self.embedded, index)

    def known(self, train: Interactions) -> Dataset:
        """The data set with nothing but the events that may be learned from."""
        return replace(self.dataset, interactions=train)

    @cached_property
    def raw_features(self) -> Mapping[str, Features]:
        """Modality to the features of the checkpoint's encoders, before any normalisation."""
        found, _ = encode_catalog(
            self.checkpoint.spec,
            self.dataset.catalog,
            allow_download=self.allow_download,
            device=self.device,
            progress=self.progress,
        )
        return found

    @cached_property
    def untrained(self) -> Bench:
        """The same with the training-free checkpoint: nothing in it was ever trained."""
        checkpoint = training_free.training_free(self.dataset)
        embedded = embed_catalog(
            checkpoint,
            self.dataset.catalog,
            allow_download=self.allow_download,
            device=self.device,
            progress=self.progress,
        )
        return replace(self, checkpoint=checkpoint, embedded=embedded)


Fit = Callable[[Bench, Interactions], HistoryScorer]


@dataclass(frozen=True)
class Method:
    """A method of the comparison.

    Attributes:
        name: as it is asked for and shown.
        group: see :data:`~adapt.workflows.evaluate_verdict.Group`.
        summary: what it does, in one line.
        fit: learns from the training events it is given and from nothing else.
        learns: whether it learns from them at all.
        default: whether it is evaluated when nobody names methods.
    """

    name: str
    group: Group
    summary: str
    fit: Fit
    learns: bool = True
    default: bool = True


def of_recommender(recommender: Recommender) -> HistoryScorer:
    """A recommender as a scorer of histories."""

    def on(histories: HistoryLists) -> Scorer:
        offsets, items = histories.offsets, np.asarray(histories.items)
        return lambda users: recommender.score_histories([items[offsets[user] : offsets[user + 1]] for user in users])

    return on


def _popularity(bench: Bench, train: Interactions) -> HistoryScorer:
    scorer = baselines.popularity(train, bench.items)
    return lambda _: scorer


def _recent_popularity(bench: Bench, train: Interactions) -> HistoryScorer:
    scorer = baselines.recent_popularity(train, bench.items)
    return lambda _: scorer


def _item_knn(bench: Bench, train: Interactions) -> HistoryScorer:
    return lambda histories: baselines.item_knn(train, histories, bench.items)


def _tuned_item_knn(bench: Bench, train: Interactions) -> HistoryScorer:
    return lambda histories: baselines.tuned_item_knn(train, histories, bench.items)


def _ease(bench: Bench, train: Interactions) -> HistoryScorer:
    return ease(train, bench.items)


def _content_knn(treatment: Treatment) -> Fit:
    def fit(bench: Bench, train: Interactions) -> HistoryScorer:
        del train
        parts = {name: (np.asarray(part.values), np.asarray(part.present)) for name, part in bench.raw_features.items()}
        return content_baseline(parts, treatment)

    return fit


def _zero_shot(bench: Bench, train: Interactions) -> HistoryScorer:
    del train
    return of_recommender(bench.zero_shot)


def _few_shot(bench: Bench, train: Interactions) -> HistoryScorer:
    return of_recommender(remember(bench.zero_shot, train, seed=bench.seed, progress=bench.progress))


def _untrained_few_shot(bench: Bench, train: Interactions) -> HistoryScorer:
    return _few_shot(bench.untrained, train)


def _training_free(bench: Bench, train: Interactions) -> HistoryScorer:
    return _zero_shot(bench.untrained, train)


def _fine_tuned(method: str) -> Fit:
    def fit(bench: Bench, train: Interactions) -> HistoryScorer:
        options = FinetuneOptions(seed=bench.seed, device=bench.device, allow_download=bench.allow_download)
        name = bench.checkpoint.config.name
        run = bench.trainings.run(name, bench.checkpoint, bench.known(train), options, bench.progress)
        return _of_run(run, bench, train, method)

    return fit


def _scratch(bench: Bench, train: Interactions) -> HistoryScorer:
    return _fine_tuned("fine-tuned")(bench.untrained, train)


def method_of_run(run: Run) -> Method:
    """A run as a method: as it is where it has learned from known events only, else fine-tuned anew from these."""

    def fit(bench: Bench, train: Interactions) -> HistoryScorer:
        if not unknown_events(run, bench.dataset, train):
            return _of_run(run, bench, train)
        options = options_of(run, device=bench.device, allow_download=bench.allow_download)
        again = bench.trainings.run(run.sha256, run.base, bench.known(train), options, bench.progress)
        return _of_run(again, bench, train)

    summary = f"The fine-tuned run {run.name} of {run.base.config.name}, by the method that validation chooses."
    return Method(f"run {run.name}", "trained", summary, fit)


def _of_run(run: Run, bench: Bench, train: Interactions, method: str = "") -> HistoryScorer:
    known = bench.known(train)
    return of_recommender(
        run.recommender(
            known,
            method=method,
            index="exact",
            allow_download=bench.allow_download,
            device=bench.device,
            progress=bench.progress,
        )
    )


_METHODS = (
    Method("popularity", "baseline", "The items with the most known interactions, the same for everyone.", _popularity),
    Method(
        "recent-popularity",
        "baseline",
        "The same with recent interactions weighing more; where times are points in time.",
        _recent_popularity,
    ),
    Method(
        "content-knn",
        "baseline",
        "Cosine of centred features with the decayed mean of the history.",
        _content_knn("centred"),
        learns=False,
    ),
    Method(
        "content-knn-whitened",
        "baseline",
        "The same on whitened features (ZCA, power 0.5).",
        _content_knn("whitened .5"),
        learns=False,
    ),
    Method("item-knn", "baseline", "Co-occurrence with the decayed history, cosine-normalised.", _item_knn),
    Method("tuned-item-knn", "baseline", "The same with the power 0.25 and the decay 0.2.", _tuned_item_knn),
    Method("ease", "baseline", "A linear item-to-item model in closed form; order plays no part.", _ease),
    Method(
        "training-free",
        "control",
        "Zero-shot with towers in which nothing was ever trained.",
        _training_free,
        learns=False,
    ),
    Method(
        "zero-shot",
        "untrained",
        "The checkpoint; nothing is fitted on the data set's interactions.",
        _zero_shot,
        learns=False,
    ),
    Method(
        "training-free-few-shot",
        "control",
        "Few-shot on the training-free towers.",
        _untrained_few_shot,
        default=False,
    ),
    Method("few-shot", "untrained", "Zero-shot fused with co-occurrence, user states and popularity.", _few_shot),
    Method(
        "scratch",
        "control",
        "The training-free towers, fine-tuned the same way.",
        _scratch,
        default=False,
    ),
    Method(
        "fine-tuned",
        "trained",
        "The checkpoint's towers after LoRA training, alone.",
        _fine_tuned("fine-tuned"),
        default=False,
    ),
    Method(
        "fused",
        "trained",
        "The fine-tuned towers and few-shot together.",
        _fine_tuned("fused"),
        default=False,
    ),
)

METHODS: Mapping[str, Method] = {method.name: method for method in _METHODS}
"""By name, the simplest first."""


_TWINS = ("training-free", "training-free-few-shot", "scratch")
"""Methods that are the same as others where the checkpoint is the training-free one itself."""


def default_names() -> tuple[str, ...]:
    """The methods that are evaluated when nobody names any: those that answer quickly."""
    return tuple(method.name for method in _METHODS if method.default)


def chosen_methods(names: Sequence[str], checkpoint: str = "") -> tuple[Method, ...]:
    """The named methods in the order of the registry; the default ones when none is named.

    Args:
        names: of the registry; repeats are harmless.
        checkpoint: name of the checkpoint; of the training-free one there is nothing without pretraining to compare.

    Raises:
        UsageError: a name is unknown; the hint lists them all.
    """
    for name in names:
        if name not in METHODS:
            raise UsageError(f"expected the name of a method, found {name!r}", f"There are {', '.join(METHODS)}.")
    wanted = set(names or default_names())
    if checkpoint == training_free.NAME:
        wanted -= set(_TWINS)
    return tuple(method for method in _METHODS if method.name in wanted)


def bound(wanted: Sequence[tuple[str, Bench]]) -> tuple[Method, ...]:
    """Methods that are each made from a checkpoint of their own, in the order of the registry.

    A name that is wanted for several checkpoints is followed by the checkpoint's.
    """
    names = [name for name, _ in wanted]
    made = []
    for name, bench in wanted:
        method = METHODS[name]
        shown = name if names.count(name) == 1 else f"{name} ({bench.checkpoint.config.name})"
        made.append((list(METHODS).index(name), replace(method, name=shown, fit=_on(method, bench))))
    return tuple(method for _, method in sorted(made, key=lambda pair: pair[0]))


def _on(method: Method, bench: Bench) -> Fit:
    return lambda _, train: method.fit(bench, train)
