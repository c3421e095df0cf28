"""`adapt hub compare`: which checkpoint to adapt, by what each does zero-shot on a data set of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapt.config import config, to_dict
from adapt.data import ColumnOptions, Dataset, load_dataset
from adapt.errors import AdaptError, DataError, UsageError
from adapt.evaluate.metrics import values_of
from adapt.evaluate.ranking import rank_cases
from adapt.evaluate.significance import Interval, bootstrap_interval
from adapt.evaluate.tasks import PROTOCOLS, Protocol, Task
from adapt.hub.format import Checkpoint
from adapt.machine import versions
from adapt.model.inference import check_device
from adapt.profile import Stages
from adapt.progress import SILENT, Progress
from adapt.workflows import training_free
from adapt.workflows.evaluate import Question, make_bench
from adapt.workflows.evaluate_guards import trained_on
from adapt.workflows.evaluate_methods import Bench, of_recommender
from adapt.workflows.evaluate_results import metric_title
from adapt.workflows.evaluate_verdict import FEWEST_USERS, Difference, Scores, Verdict, compare
from adapt.workflows.run_facts import hash_inputs, plain


@config
class CompareOptions:
    """What `adapt hub compare` was asked; see its help."""

    dataset: str
    checkpoints: tuple[str, ...]
    protocol: Protocol = "leave-one-out"
    k: int = 10
    seed: int = 0
    device: str = "cpu"
    strict: bool = False
    allow_download: bool = False
    columns: ColumnOptions = field(default_factory=ColumnOptions)


@dataclass(frozen=True)
class Contender:
    """One checkpoint on the data set.

    Attributes:
        reference: as given.
        name, sha256: of the checkpoint.
        parameters: of its towers.
        readable: items that it has a feature of.
        metrics: name (``"ndcg@10"``) -> mean over users with its 95 % interval.
        against_best: the paired difference to the first of the ranking; None for that one itself.
        seen: whether it was pretrained on a data set of this name.
    """

    reference: str
    name: str
    sha256: str
    parameters: int
    readable: int
    metrics: Mapping[str, Interval]
    against_best: Difference | None
    seen: bool


@dataclass(frozen=True, eq=False)
class Comparison:
    """All checkpoints, the best first.

    Attributes:
        dataset: its name.
        description: what was hidden and what was known.
        metric: that decides, ``"ndcg@10"``.
        users, candidates: how many.
        contenders: by the deciding metric; towers without pretraining are among them.
        left_out: reference -> why it could not be asked.
        verdict: which one to adapt.
        run: for ``run.json``: arguments, versions, hashes, seconds.
    """

    dataset: str
    description: str
    metric: str
    users: int
    candidates: int
    contenders: tuple[Contender, ...]
    left_out: Mapping[str, str]
    verdict: Verdict
    run: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "verdict": asdict(self.verdict),
            "dataset": self.dataset,
            "description": self.description,
            "metric": self.metric,
            "users": self.users,
            "candidates": self.candidates,
            "checkpoints": [_plain(one) for one in self.contenders],
            "left_out": dict(self.left_out),
            "run": dict(self.run),
        }


def compare_checkpoints(options: CompareOptions, progress: Progress = SILENT) -> Comparison:
    """Hide the same events from every checkpoint and rank them by how well each finds these, with nothing fitted.

    Towers without pretraining are ranked beside them: a checkpoint that is not better than these is no better start.

    Raises:
        UsageError: no checkpoint is named, one is named twice, or an option is out of range.
        DataError: the data set is unusable or does not allow the protocol, or no checkpoint reads any of its items.
        CheckpointError: a checkpoint is unknown or damaged.
        HubError: one cannot be had.
    """
    if not options.checkpoints:
        raise UsageError("expected checkpoints to compare, found none", "`adapt hub list` shows the bundled ones.")
    if twice := [name for name in options.checkpoints if options.checkpoints.count(name) > 1]:
        raise UsageError(f"expected each checkpoint once, found {twice[0]} twice")
    if options.protocol not in PROTOCOLS:
        raise UsageError(f"expected a protocol among {', '.join(PROTOCOLS)}, found {options.protocol!r}")
    check_device(options.device)
    question = Question(options.protocol, k=options.k, seed=options.seed)
    stages = Stages()
    with stages.stage("checkpoints"):
        named = {name: _checkpoint(name, options.device) for name in options.checkpoints}
    with stages.stage("data"):
        dataset = load_dataset(
            options.dataset,
            columns=options.columns,
            strict=options.strict,
            allow_download=options.allow_download,
            progress=progress,
        )
    named.setdefault(training_free.NAME, None)
    with stages.stage("encode"):
        benches, left_out = _benches(named, dataset, options, progress)
    task = question.task(dataset, np.logical_or.reduce([bench.embedded.usable for bench in benches.values()]))
    with stages.stage("rank"):
        ranks = {name: _ranks(bench, task, options.k, progress) for name, bench in benches.items()}
    contenders, verdict = _judged(benches, ranks, options)
    return Comparison(
        dataset=dataset.name,
        description=task.description[:1].upper() + task.description[1:] + ".",
        metric=f"ndcg@{options.k}",
        users=len(task),
        candidates=int(task.candidates.sum()),
        contenders=contenders,
        left_out=left_out,
        verdict=verdict,
        run={
            "command": "hub compare",
            "arguments": plain(to_dict(options)),
            "versions": versions(),
            "seed": options.seed,
            "data_sha256": hash_inputs(dataset),
            "seconds": dict(stages.seconds),
        },
    )


def _checkpoint(reference: str, device: str) -> Checkpoint | None:
    """None for the training-free one, which is made for the data set."""
    return None if reference == training_free.NAME else Checkpoint.from_pretrained(reference, device=device)


def _benches(
    named: Mapping[str, Checkpoint | None], dataset: Dataset, options: CompareOptions, progress: Progress
) -> tuple[dict[str, Bench], dict[str, str]]:
    """The catalog in the space of each checkpoint, and why there is none for the others."""
    benches: dict[str, Bench] = {}
    left_out: dict[str, str] = {}
    for reference, checkpoint in named.items():
        try:
            benches[reference] = make_bench(
                checkpoint or training_free.training_free(dataset),
                dataset,
                seed=options.seed,
                allow_download=options.allow_download,
                device=options.device,
                progress=progress,
            )
        except AdaptError as failure:
            left_out[reference] = failure.message
    if not set(benches) & set(options.checkpoints):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise DataError(f"expected a checkpoint that reads {dataset.name}, found none: {reasons}")
    return benches, left_out


def _ranks(bench: Bench, task: Task, k: int, progress: Progress) -> NDArray[np.float64]:
    """Rank of each case's hidden item from 0; ``inf`` where the checkpoint has no feature of it."""
    scorer = of_recommender(bench.zero_shot)(task.histories)
    candidates = task.candidates & bench.embedded.usable
    return rank_cases(scorer, task.histories, task.targets, candidates, ks=(k,), progress=progress).ranks


def _judged(
    benches: Mapping[str, Bench], ranks: Mapping[str, NDArray[np.float64]], options: CompareOptions
) -> tuple[tuple[Contender, ...], Verdict]:
    metric = f"ndcg@{options.k}"
    scores = [
        Scores(name, "control" if name == training_free.NAME else "untrained", values_of(found, metric))
        for name, found in ranks.items()
    ]
    scores.sort(key=lambda one: -one.mean)
    best = scores[0]
    contenders = []
    for one in scores:
        checkpoint = benches[one.name].checkpoint
        contenders.append(
            Contender(
                reference=one.name,
                name=checkpoint.config.name,
                sha256=checkpoint.sha256,
                parameters=sum(value.numel() for value in checkpoint.towers.state_dict().values()),
                readable=int(benches[one.name].embedded.usable.sum()),
                metrics={
                    name: bootstrap_interval(values_of(ranks[one.name], name), seed=options.seed)
                    for name in (f"recall@{options.k}", metric, f"mrr@{options.k}")
                },
                against_best=None if one is best else compare(one, best, options.seed),
                seen=benches[one.name].dataset.name in trained_on(checkpoint),
            )
        )
    seen = [one.reference for one in contenders if one.seen]
    return tuple(contenders), judge_checkpoints(scores, metric_title(metric), seen, options.seed)


def judge_checkpoints(scores: Sequence[Scores], metric: str, seen: Sequence[str] = (), seed: int = 0) -> Verdict:
    """Which checkpoint to adapt, in words that follow from the numbers.

    Args:
        scores: of every checkpoint, the best mean first; the group ``"control"`` are towers without pretraining.
        metric: for the words: ``"NDCG@10"``.
        seen: those that were pretrained on a data set of this name.
        seed: of the bootstrap.
    """
    ours = [one for one in scores if one.group != "control"]
    best, users = ours[0], len(ours[0].values)
    warnings = tuple(
        f"{name} was pretrained on a data set of this name: if it is this one, its figure is too good." for name in seen
    )
    if scores[0].mean <= 0:
        headline = f"Too little data to tell: nothing found one of the {users:,} hidden items among the first places."
        return Verdict("unknown", None, headline, warnings)
    against = [compare(other, best, seed) for other in ours[1:]]
    equal = [found for found in against if found.interval.high >= 0]
    reasons = [f"{found.ours} is behind it ({found.words()} against it)." for found in against if found not in equal]
    reasons += [f"{found.ours} may be as good ({found.words()} against it)." for found in equal]
    control = next((compare(best, other, seed) for other in scores if other.group == "control"), None)
    if users < FEWEST_USERS:
        headline = (
            f"Too little data to tell: {best.name} has the best mean, and {users:,} users are too few to rely on it."
        )
        return Verdict("unknown", None, headline, (*reasons, *warnings))
    if control is not None and control.sign <= 0:
        how = "worse than" if control.sign < 0 else "not surely better than"
        headline = (
            f"Pretraining does not help here yet: {best.name}, the best, is {how} towers without it "
            f"({control.words()}). `adapt evaluate --learning-curve transfer` shows what fine-tuning makes of it."
        )
        return Verdict("mixed", None, headline, (*reasons, *warnings))
    rest = f"; {' and '.join(one.ours for one in equal)} cannot be told from it" if equal else ""
    surely = "" if equal or not against else ", surely the best of them"
    headline = f"Adapt {best.name}: {metric} {best.mean:.4f}{surely}{rest}."
    if control is not None:
        reasons.append(f"Against towers without pretraining it is {control.words()}.")
    return Verdict("good", best.name, headline, (*reasons, *warnings))


def _plain(one: Contender) -> dict[str, Any]:
    found = one.against_best
    return {
        "reference": one.reference,
        "name": one.name,
        "sha256": one.sha256,
        "parameters": one.parameters,
        "readable_items": one.readable,
        "pretrained_on_this_name": one.seen,
        "metrics": {name: value.to_dict() for name, value in one.metrics.items()},
        "against_best": None
        if found is None
        else {"difference": found.interval.to_dict(), "significant": found.significant},
    }
