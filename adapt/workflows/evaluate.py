"""`adapt evaluate`: every method on the same hidden events, and in words which one to ship."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from adapt.config import config, to_dict
from adapt.data import ColumnOptions, Dataset, load_dataset
from adapt.errors import DataError, UsageError
from adapt.evaluate.tasks import PROTOCOLS, Protocol, Task, leave_one_out_task, make_task, with_fraction
from adapt.hub.format import Checkpoint
from adapt.machine import versions
from adapt.model.inference import check_device
from adapt.profile import Stages
from adapt.progress import SILENT, Progress
from adapt.workflows import training_free
from adapt.workflows.embedding import EmbeddedCatalog, embed_catalog
from adapt.workflows.evaluate_guards import caveats_of, guards_of, trained_on
from adapt.workflows.evaluate_measure import (
    Bout,
    learning_curve,
    method_results,
    rank_methods,
    scores_of,
    transfers_of,
)
from adapt.workflows.evaluate_methods import Bench, Method, bound, chosen_methods, default_names, method_of_run
from adapt.workflows.evaluate_results import CheckpointFacts, EvaluationResult, Setting, metric_title
from adapt.workflows.evaluate_runs import load_runs
from adapt.workflows.evaluate_verdict import judge
from adapt.workflows.finetuned import FineTunedRecommender, RememberingRecommender
from adapt.workflows.recommender import Recommender
from adapt.workflows.run import Run
from adapt.workflows.run_facts import hash_inputs, plain

TRANSFER_METHODS = ("training-free", "zero-shot", "training-free-few-shot", "few-shot", "scratch", "fine-tuned")
"""What the question whether pretraining helps needs beside the others."""


@config
class EvaluateOptions:
    """What `adapt evaluate` was asked; see its help.

    Shares of the learning curve are from 0 to 1. Without a checkpoint it is the base of the first run, else adapt-mini.
    """

    dataset: str
    checkpoint: str | None = None
    runs: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    protocol: Protocol = "leave-one-out"
    strict_split: bool = False
    learning_curve: tuple[float, ...] = ()
    transfer: bool = False
    sources: tuple[str, ...] = ()
    k: int = 10
    seed: int = 0
    device: str = "cpu"
    strict: bool = False
    allow_download: bool = False
    columns: ColumnOptions = field(default_factory=ColumnOptions)


@dataclass(frozen=True)
class Question:
    """What the methods are asked.

    Attributes:
        protocol: what is hidden.
        strict_split: whether the event before the hidden one is kept out of training as well.
        fractions: shares of the training users that the learning curve knows, from 0 to 1.
        k: length of the lists.
        seed: of everything that is drawn.

    Raises:
        UsageError: a value is out of range, or two contradict each other.
    """

    protocol: Protocol = "leave-one-out"
    strict_split: bool = False
    fractions: tuple[float, ...] = ()
    k: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"expected k of at least 1, found {self.k}")
        if self.protocol not in PROTOCOLS:
            raise UsageError(f"expected a protocol among {', '.join(PROTOCOLS)}, found {self.protocol!r}")
        if self.strict_split and self.protocol != "leave-one-out":
            raise UsageError(
                f"expected a strict split with the protocol leave-one-out, found {self.protocol}",
                "The other protocols say themselves what may be learned from.",
            )
        if not all(0 <= share <= 1 for share in self.fractions):
            raise UsageError(f"expected shares of the histories from 0 to 1, found {self.fractions}")

    def task(self, dataset: Dataset, usable: NDArray[np.bool_]) -> Task:
        """The events that are hidden.

        Raises:
            DataError: the data set does not allow the protocol.
        """
        if dataset.interactions is None:
            raise DataError(
                f"expected interactions to evaluate on in {dataset.name}, found a catalog alone",
                "Add interactions.csv; `adapt zero-shot` needs none.",
            )
        if self.strict_split:
            return leave_one_out_task(dataset.interactions, usable, "strict")
        return make_task(self.protocol, dataset.interactions, usable, seed=self.seed)


def evaluate_run(options: EvaluateOptions, progress: Progress = SILENT) -> EvaluationResult:
    """Read a data set and a checkpoint, and evaluate.

    Raises:
        UsageError: a method or the device is unknown, or options contradict each other.
        DataError: the data set is unusable, or does not allow the protocol.
        CheckpointError: the checkpoint or an encoder is unknown, damaged or does not fit.
    """
    question = Question(options.protocol, options.strict_split, options.learning_curve, options.k, options.seed)
    chosen_methods(options.methods)  # an unknown name is found before any work is done
    check_device(options.device)
    stages = Stages()
    with stages.stage("checkpoint"):
        runs = load_runs(options.runs, options.device)
        checkpoint = _checkpoint(options, runs)
    with stages.stage("data"):
        dataset, *sources = (
            load_dataset(
                path,
                columns=options.columns if number == 0 else ColumnOptions(),
                strict=options.strict and number == 0,
                allow_download=options.allow_download,
                progress=progress,
            )
            for number, path in enumerate((options.dataset, *options.sources))
        )
    checkpoint = checkpoint or training_free.training_free(dataset)
    with stages.stage("encode"):
        bench = make_bench(
            checkpoint,
            dataset,
            seed=options.seed,
            allow_download=options.allow_download,
            device=options.device,
            progress=progress,
        )
    names = options.methods
    if options.transfer:
        names = (*(names or default_names()), *TRANSFER_METHODS)
    of_runs = tuple(map(method_of_run, runs))
    methods = (*chosen_methods(names, checkpoint.config.name), *of_runs)
    asked = frozenset((*options.methods, *(method.name for method in of_runs)))
    result = evaluate_methods(bench, methods, question, named=asked, sources=sources, stages=stages, runs=runs)
    run = {
        "command": "evaluate",
        "arguments": plain(to_dict(options)),
        "versions": versions(),
        "seed": options.seed,
        "checkpoint": {"name": checkpoint.config.name, "sha256": checkpoint.sha256},
        "encoders": {name: encoder.id for name, encoder in bench.embedded.encoders.items()},
        "data_sha256": hash_inputs(dataset),
        "seconds": dict(stages.seconds),
    }
    return replace(result, run=run)


def _checkpoint(options: EvaluateOptions, runs: Sequence[Run]) -> Checkpoint | None:
    """The checkpoint that was asked for; None for the training-free one, which is made for a data set."""
    if options.checkpoint is None and runs:
        return runs[0].base
    named = options.checkpoint or "adapt-mini"
    return None if named == training_free.NAME else Checkpoint.from_pretrained(named, device=options.device)


def evaluate(
    recommenders: Sequence[Recommender | Run],
    dataset: Dataset,
    *,
    protocol: Protocol = "leave-one-out",
    strict_split: bool = False,
    learning_curve: Sequence[float] = (),
    k: int = 10,
    seed: int = 0,
    progress: Progress = SILENT,
) -> EvaluationResult:
    """Evaluate recommenders and runs beside simple baselines on one data set; ``.verdict`` says which one to ship.

    What has learned from more than the events that are known is made anew from these: a few-shot recommender in
    seconds, a run by fine-tuning with its own options. So nothing is asked for what it has seen.

    Args:
        recommenders: made by :func:`adapt.zero_shot` and :func:`adapt.few_shot`, and runs of :func:`adapt.finetune`; at
            least one.
        dataset: with interactions.
        protocol: what is hidden; see the guide on evaluation.
        strict_split: whether the event before the hidden one is kept out of training as well.
        learning_curve: shares of the histories that are known, from 0 to 1.
        k: length of the lists.
        seed: of everything that is drawn.
        progress: told every method.

    Raises:
        UsageError: there is no recommender, one was made by a run, or a value is out of range.
        DataError: the data set does not allow the protocol.
    """
    if not recommenders:
        raise UsageError("expected at least one recommender, found none", "Pass adapt.zero_shot(checkpoint, data).")
    question = Question(protocol, strict_split, tuple(sorted(set(learning_curve))), k, seed)
    runs = [one for one in recommenders if isinstance(one, Run)]
    bound_to = [
        (one.method, _bench_of(one, dataset, seed, progress)) for one in recommenders if not isinstance(one, Run)
    ]
    bench = bound_to[0][1] if bound_to else make_bench(runs[0].base, dataset, seed=seed, progress=progress)
    methods = (*bound(bound_to), *map(method_of_run, runs))
    named = frozenset(method.name for method in methods)
    baselines = [method for method in chosen_methods(()) if method.group == "baseline"]
    return evaluate_methods(bench, (*baselines, *methods), question, named=named, runs=runs)


def _bench_of(recommender: Recommender, dataset: Dataset, seed: int, progress: Progress) -> Bench:
    if isinstance(recommender, FineTunedRecommender | RememberingRecommender):
        raise UsageError(
            f"expected the run itself, found the {recommender.method} recommender that it has made, of which nobody "
            "can tell what it has learned from",
            "Pass the run: adapt.evaluate([run], data).",
        )
    embedded = recommender.embedded if recommender.dataset is dataset else None
    return make_bench(recommender.checkpoint, dataset, embedded=embedded, seed=seed, progress=progress)


def make_bench(
    checkpoint: Checkpoint,
    dataset: Dataset,
    *,
    embedded: EmbeddedCatalog | None = None,
    seed: int = 0,
    allow_download: bool = False,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> Bench:
    """A checkpoint with a catalog embedded in its space (anew, if it is not given)."""
    embedded = embedded or embed_catalog(
        checkpoint, dataset.catalog, allow_download=allow_download, device=device, progress=progress
    )
    return Bench(checkpoint, dataset, embedded, seed, allow_download, device, progress)


def evaluate_methods(
    bench: Bench,
    methods: Sequence[Method],
    question: Question,
    *,
    named: frozenset[str] = frozenset(),
    sources: Sequence[Dataset] = (),
    runs: Sequence[Run] = (),
    stages: Stages | None = None,
) -> EvaluationResult:
    """Rank, compare and judge methods on one data set.

    Args:
        bench: what the methods are made from.
        methods: the simplest first.
        question: what they are asked.
        named: names of methods whose failure is an error; others are left out with the reason.
        sources: data sets that the checkpoint was pretrained on, to find shared items in.
        runs: that are among the methods, to say whether they were fine-tuned anew.
        stages: told the time of each method.

    Raises:
        DataError: the data set does not allow the question.
        UsageError: no method could be evaluated.
    """
    stages = stages or Stages()
    task = question.task(bench.dataset, bench.embedded.usable)
    tasks, too_small = _at_shares(task, question)
    bout = Bout(bench, methods, question.k, stages, bench.progress)
    ranked, left_out = rank_methods(bout, task, methods, named)
    if not ranked:
        raise UsageError(
            "expected a method that can be evaluated here, found none: "
            + "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        )
    curve, by_share = learning_curve(bout, tasks, ranked)
    with stages.stage("figures"):
        results = method_results(bout, task, ranked)
        scores = {name: scores_of(bout, one) for name, one in ranked.items()}
        transfers = transfers_of(bout, scores, by_share)
        verdict = judge(list(scores.values()), metric_title(bout.metric), transfers, question.seed)
    with stages.stage("leak guards"):
        guards = guards_of(bench, task, sources, runs)
    checkpoint = bench.checkpoint
    return EvaluationResult(
        dataset=bench.dataset,
        checkpoint=CheckpointFacts(checkpoint.config.name, checkpoint.sha256, trained_on(checkpoint)),
        setting=_setting(task, question),
        verdict=verdict,
        methods=results,
        left_out=left_out,
        curve=curve,
        transfers=transfers,
        guards=guards,
        caveats=(*caveats_of(bench, task, results, verdict.ship), *too_small),
        seed=question.seed,
        timings=stages.seconds,
        run={},
    )


def _at_shares(task: Task, question: Question) -> tuple[dict[float, Task], list[str]]:
    """The task at each share of the learning curve that keeps a user, and a sentence on those that keep none.

    Raises:
        DataError: shares above 0 are asked for and none keeps a user.
    """
    tasks: dict[float, Task] = {}
    refused: dict[float, DataError] = {}
    for share in question.fractions:
        try:
            tasks[share] = with_fraction(task, share, question.seed)
        except DataError as failure:
            refused[share] = failure
    if refused and not any(tasks):
        raise next(iter(refused.values()))
    left_out = ", ".join(f"{100 * share:g}" for share in refused)
    return tasks, [f"The learning curve leaves out {left_out} %: of so few users that is none."] if refused else []


def _setting(task: Task, question: Question) -> Setting:
    return Setting(
        protocol=task.protocol,
        description=task.description[:1].upper() + task.description[1:] + ".",
        metric=f"ndcg@{question.k}",
        k=question.k,
        cases=len(task),
        users=len(np.unique(task.users)),
        candidates=int(task.candidates.sum()),
        cold_candidates=int((task.candidates & ~task.warm).sum()),
        train_events=len(task.train),
        histories=task.histories,
        case_users=task.users,
        targets=task.targets,
    )
