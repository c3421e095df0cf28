"""What keeps an evaluation honest, and what its reader should bear in mind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adapt.data import Dataset, Interactions
from adapt.evaluate.duplicates import catalog_overlap, repeats
from adapt.evaluate.tasks import Task
from adapt.hub.format import Checkpoint
from adapt.workflows.evaluate_methods import Bench
from adapt.workflows.evaluate_results import MethodResult
from adapt.workflows.evaluate_runs import unknown_events
from adapt.workflows.run import Run

_COLD_SHARE = 0.02
_CONTENT = ("content-knn", "content-knn-whitened")


def trained_on(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Names of the data sets that a checkpoint was pretrained on, as its metrics say."""
    return tuple(checkpoint.metrics.get("pretraining", {}).get("trained_on", ()))


def guards_of(bench: Bench, task: Task, sources: Sequence[Dataset], runs: Sequence[Run]) -> tuple[str, ...]:
    """What was done so that nothing leaks, and what was found, in sentences."""
    said = [
        f"None of the {len(task):,} hidden events is among the {len(task.train):,} events that methods learned from; "
        "statistics of features see no interaction at all."
    ]
    names = trained_on(bench.checkpoint)
    if bench.dataset.name in names:
        said.append(
            f"The checkpoint was pretrained on a data set called {bench.dataset.name}: if it is this one, hidden "
            "events were seen in pretraining, and the figures of its methods are too good."
        )
    said += [_of_run(run, bench, task) for run in runs]
    said += [_shared(bench.dataset, source) for source in sources]
    compared = {source.name for source in sources}
    missing = [name for name in names if name not in compared]
    if missing:
        said.append(
            f"Items that this data set shares with {', '.join(missing)}, which the checkpoint was pretrained on, were "
            "not looked for: --source PATH compares one of them."
        )
    return tuple(said)


def caveats_of(bench: Bench, task: Task, methods: Sequence[MethodResult], ship: str | None) -> tuple[str, ...]:
    """What the reader should bear in mind, in sentences."""
    said = [
        f"Full ranking over {int(task.candidates.sum()):,} candidates; items of the user's own history are left out; "
        "equal scores share their mean rank; intervals are 95 % bootstrap intervals over users, each for itself."
    ]
    if bench.dataset.interactions is not None:
        said += _hidden(task, bench.dataset.interactions)
    said += _cold(task, methods, ship)
    said += _data(bench)
    return tuple(said)


def _of_run(run: Run, bench: Bench, task: Task) -> str:
    unknown = unknown_events(run, bench.dataset, task.train)
    if not unknown:
        return f"The run {run.name} has learned from known events only: it is evaluated as it is."
    return (
        f"The run {run.name} has learned from {unknown:,} events that must not be known here: it was not asked. "
        "In its place the same base was fine-tuned anew, with the same options, on the known events alone."
    )


def _shared(dataset: Dataset, source: Dataset) -> str:
    """How many items of the data set are in a data set of pretraining too."""
    found = catalog_overlap(dataset.catalog, source.catalog)
    example = f", for example {found.examples[0][0]!r} and {found.examples[0][1]!r}" if found.examples else ""
    return (
        f"Of {found.items:,} items {found.same_texts:,} have a text or title that {source.name} has too, "
        f"{found.near_texts:,} nearly the same words{example}; {found.same_ids:,} have an id that occurs there."
    )


def _hidden(task: Task, interactions: Interactions) -> list[str]:
    """Hidden items that no method can find, and cases that content knows nothing of."""
    said = []
    lost = int((~task.candidates[task.targets]).sum())
    if lost:
        said.append(
            f"{lost:,} of {len(task):,} hidden items have neither text nor image that can be used: a miss for everyone."
        )
    repeated = repeats(task, interactions)
    if repeated.targets_seen:
        said.append(
            f"{repeated.targets_seen:,} hidden items had been met by their user before: left out of the lists, so "
            "misses."
        )
    if repeated.same_histories:
        said.append(
            f"{repeated.same_histories:,} users have a history that another user has too, event for event: what is "
            "hidden of one may be known of the other."
        )
    case = np.repeat(np.arange(len(task)), np.diff(task.histories.offsets))
    known = np.zeros(len(task), bool)
    known[case[task.candidates[task.histories.items]]] = True
    if not known.all():
        said.append(
            f"{int((~known).sum()):,} users have no usable item in their history: content says nothing of them."
        )
    asked = len(np.unique(task.users))
    rest = int((task.train.lengths() > 0).sum()) if task.train.n_users else 0
    said.append(f"{asked:,} of {task.train.n_users:,} users are asked for; {rest:,} have events to learn from.")
    return said


def _cold(task: Task, methods: Sequence[MethodResult], ship: str | None) -> list[str]:
    cold = int((task.candidates & ~task.warm).sum())
    share = cold / max(1, int(task.candidates.sum()))
    shipped = next((found for found in methods if found.name == ship), None)
    if shipped is None or shipped.group != "baseline" or shipped.name in _CONTENT or share < _COLD_SHARE:
        return []
    return [f"{ship} can never recommend an item without interactions: {cold:,} candidates ({share:.0%}) have none."]


def _data(bench: Bench) -> list[str]:
    said = []
    report, spec = bench.dataset.report, bench.checkpoint.spec
    missing = [name for name in spec.encoders if name not in bench.embedded.items.values]
    if missing:
        said.append(
            f"The checkpoint reads {' and '.join(spec.encoders)}; the data set has no {' and no '.join(missing)}, so "
            "the figures say nothing of that part of it."
        )
    left_out = int((~bench.embedded.usable).sum())
    if left_out:
        said.append(f"{left_out:,} items without a usable text or image are no candidates.")
    if report.time_order != "timestamps":
        said.append("There are no timestamps: histories are in the order of the file.")
    return said
