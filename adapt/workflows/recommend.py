"""Recommendations for every user of a data set by any recommender, from one call, written with how they were made."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from adapt import ranks
from adapt.config import config, to_dict
from adapt.data import ColumnOptions, Dataset, load_dataset
from adapt.errors import UsageError
from adapt.files import atomic_write, write_json
from adapt.hub.format import Checkpoint
from adapt.index import IndexInfo
from adapt.index.build import kind_for
from adapt.index.calibrate import Choice
from adapt.index.engine import RemoteSettings
from adapt.machine import versions
from adapt.model.inference import check_device
from adapt.profile import Stages
from adapt.progress import SILENT, Progress
from adapt.seeds import seed_everything
from adapt.shards import Work
from adapt.workflows import training_free
from adapt.workflows.asked import Mode, wanted, with_history
from adapt.workflows.few_shot import interactions_of, remember
from adapt.workflows.lists import Asked, RecommendationTable, ranked_lists
from adapt.workflows.recommender import Recommender, ZeroShotRecommender, zero_shot
from adapt.workflows.run_facts import hash_inputs, plain
from adapt.workflows.self_check import SelfCheck, self_check


@config
class RecommendOptions:
    """What `adapt zero-shot`, `few-shot` or `recommend` was asked; see their help.

    ``unfinished`` is a folder for what is done so far, from which the same command goes on after it was killed; "" =
    nothing is kept. It is removed by :meth:`adapt.shards.Work.finish`.
    """

    dataset: str
    checkpoint: str = "adapt-mini"
    users: tuple[str, ...] = ()
    sample_users: int = 0
    history: tuple[str, ...] = ()
    k: int = 10
    keep_seen: bool = False
    seed: int = 0
    device: str = "cpu"
    strict: bool = False
    allow_download: bool = False
    columns: ColumnOptions = field(default_factory=ColumnOptions)
    index: Choice | RemoteSettings = "auto"
    unfinished: str = ""
    profile: bool = False


@dataclass(frozen=True)
class CheckpointSummary:
    """Which checkpoint was used."""

    name: str
    ref: str
    sha256: str
    summary: str


@dataclass(frozen=True, eq=False)
class RecommendResult:
    """All that such a command found out.

    Attributes:
        command: its name.
        method: of the recommender: zero-shot, few-shot, fine-tuned or fused.
        how: sentences on what the scores are made of; none for zero-shot, whose page says it.
        mode: recommendations for ``"users"``, ``"similar"`` items for every item, or for an ad-hoc ``"history"``.
        dataset, checkpoint, table, index: see their classes.
        candidates: number of items that can be recommended.
        left_out: ids of the items without a usable modality.
        with_text, with_image, with_both: candidates with that usable feature.
        encode_failures: (item id, reason).
        users_without_history: ids of users whose history holds no usable item; they get no list.
        keep_seen: whether items of the history could be recommended.
        self_check: None when the data set has too few histories to hide an item of.
        timings: seconds by stage.
        notes: what the user should know, in sentences.
        run: what ``run.json`` holds.
        stages: what each stage took, memory too where that was asked for.
        work: where the lists lie until they are written out; to be finished then.
    """

    command: str
    method: str
    how: tuple[str, ...]
    mode: Mode
    dataset: Dataset
    checkpoint: CheckpointSummary
    table: RecommendationTable
    candidates: int
    left_out: tuple[str, ...]
    with_text: int
    with_image: int
    with_both: int
    encode_failures: tuple[tuple[str, str], ...]
    users_without_history: tuple[str, ...]
    keep_seen: bool
    index: IndexInfo
    self_check: SelfCheck | None
    timings: Mapping[str, float]
    notes: tuple[str, ...]
    run: Mapping[str, Any]
    stages: Stages = field(default_factory=Stages)
    work: Work = field(default_factory=Work)


Make = Callable[[Dataset, Work, Progress], Recommender]
"""From a data set to its recommender; matrices that do not fit memory go where the second argument says."""


def zero_shot_run(options: RecommendOptions, progress: Progress = SILENT) -> RecommendResult:
    """`adapt zero-shot`: read a data set, embed it with a checkpoint and recommend.

    Raises:
        UsageError: options contradict each other, or there is no such device.
        DataError: the data set is unusable, or an id that was named is unknown.
        CheckpointError: the checkpoint or an encoder is unknown, damaged or does not fit.
    """
    return recommend_run("zero-shot", options, from_checkpoint, progress)


def few_shot_run(options: RecommendOptions, progress: Progress = SILENT) -> RecommendResult:
    """`adapt few-shot`: the same with a memory of the data set's own interactions.

    Raises:
        DataError: there are no interactions; and as :func:`zero_shot_run`.
    """

    def prepare(options: RecommendOptions) -> Make:
        from_content = from_checkpoint(options)

        def make(dataset: Dataset, work: Work, progress: Progress) -> Recommender:
            known = interactions_of(dataset)
            zero = from_content(dataset, work, progress)
            with work.stages.stage("memory", known.n_users, "users"):
                return remember(zero, known, seed=options.seed, progress=progress)

        return make

    return recommend_run("few-shot", options, prepare, progress)


def from_checkpoint(options: RecommendOptions) -> Callable[[Dataset, Work, Progress], ZeroShotRecommender]:
    """The zero-shot recommender of the checkpoint that the options name, which is read at once."""
    named = options.checkpoint != training_free.NAME
    checkpoint = Checkpoint.from_pretrained(options.checkpoint, device=options.device) if named else None

    def make(dataset: Dataset, work: Work, progress: Progress) -> ZeroShotRecommender:
        return zero_shot(
            checkpoint or training_free.training_free(dataset),
            dataset,
            index=index_kind(options, dataset),
            allow_download=options.allow_download,
            device=options.device,
            seed=options.seed,
            progress=progress,
            work=work,
        )

    return make


def index_kind(options: RecommendOptions, dataset: Dataset) -> Choice | RemoteSettings:
    """How items are searched for all the lists that are asked for; see :func:`adapt.index.build.kind_for`."""
    if options.index != "auto":
        return options.index
    known = dataset.interactions.n_users if dataset.interactions is not None else 0
    asked = len(options.history and ("history",)) or len(options.users) or options.sample_users
    return kind_for(asked or known or len(dataset.catalog), len(dataset.catalog))


def recommend_run(
    command: str, options: RecommendOptions, prepare: Callable[[RecommendOptions], Make], progress: Progress = SILENT
) -> RecommendResult:
    """Read what is recommended with, then the data set, and recommend.

    Args:
        command: its name, for ``run.json`` and the page.
        options: what was asked.
        prepare: reads the checkpoint or the run before the data set is read, so that a wrong name is said at once.
        progress: told each stage.
    """
    _check(options)
    seed_everything(options.seed)
    work = Work(Path(options.unfinished) if options.unfinished else None, Stages(options.profile))
    stages = work.stages
    with stages.stage("checkpoint"):
        make = prepare(options)
    with stages.stage("data"):
        dataset = load_dataset(
            options.dataset,
            columns=options.columns,
            strict=options.strict,
            allow_download=options.allow_download,
            progress=progress,
        )
        hashes = hash_inputs(dataset)
    mode, keys, histories = wanted(dataset, options)
    recommender = make(dataset, work, progress)
    keys, histories, without = with_history(recommender, mode, keys, histories)
    identity = {
        "command": command,
        "method": recommender.method,
        "facts": recommender.facts(),
        "fingerprints": [recommender.checkpoint.sha256, recommender.fingerprint],
        "encoders": {name: encoder.id for name, encoder in recommender.embedded.encoders.items()},
        "index": recommender.index.info().__dict__,
        "data": hashes,
        "columns": plain(to_dict(options.columns)),
        "seed": options.seed,
        "versions": versions(),
    }
    with stages.stage("recommend", len(keys), "lists"):
        asked = Asked(options.k, mode == "similar", options.keep_seen, identity)
        table = ranked_lists(recommender, keys, histories, asked, work, progress)
    for name, (there, shards) in work.resumed.items():
        if there and name != "scores":
            progress.note(f"Going on from an earlier run: {there} of {shards} shards of {name} were there.")
    with stages.stage("self-check"):
        check = self_check(recommender, options.k, options.seed, progress) if ranks.is_main() else None
    result = _result(command, options, recommender, mode, table, without, check, work, hashes)
    recommender.index.close()
    return result


def _check(options: RecommendOptions) -> None:
    if options.k < 1:
        raise UsageError(f"expected --k of at least 1, found {options.k}")
    if (options.users or options.sample_users) and options.history:
        raise UsageError("expected users or a history, found both", "Run the command twice.")
    if options.users and options.sample_users:
        raise UsageError("expected users by name or a sample of them, found both", "Leave one out.")
    if ranks.count() > 1 and not options.unfinished:
        raise UsageError(
            f"expected --output with {ranks.count()} processes, which share their work there, found none",
            "For example: --output results",
        )
    check_device(options.device)


def _result(
    command: str,
    options: RecommendOptions,
    recommender: Recommender,
    mode: Mode,
    table: RecommendationTable,
    without: tuple[str, ...],
    check: SelfCheck | None,
    work: Work,
    hashes: Mapping[str, str],
) -> RecommendResult:
    catalog, embedded = recommender.dataset.catalog, recommender.embedded
    present = {name: value.numpy() for name, value in embedded.items.present.items()}
    none = np.zeros(len(catalog), dtype=bool)
    text, image = present.get("text", none), present.get("image", none)
    left_out = tuple(catalog.ids[row] for row in np.flatnonzero(~embedded.usable))
    failures = tuple((catalog.ids[row], reason) for row, reason in embedded.failures)
    counts = {
        "items": len(catalog),
        "candidates": int(embedded.usable.sum()),
        "with_text": int(text.sum()),
        "with_image": int(image.sum()),
        "with_both": int((text & image).sum()),
        "left_out": len(left_out),
        "encode_failures": len(failures),
        "newly_encoded": dict(embedded.encoded),
        "lists": len(table.keys),
        "users_without_history": len(without),
    }
    config_ = recommender.checkpoint.config
    summary = CheckpointSummary(config_.name, options.checkpoint, recommender.checkpoint.sha256, config_.summary)
    info = recommender.index.info()
    run = {
        "command": command,
        "method": recommender.method,
        **recommender.facts(),
        "arguments": {name: value for name, value in plain(to_dict(options)).items() if name != "unfinished"},
        "versions": versions(),
        "seed": options.seed,
        "checkpoint": {"name": summary.name, "sha256": summary.sha256},
        "encoders": {name: encoder.id for name, encoder in embedded.encoders.items()},
        "data_sha256": dict(hashes),
        "counts": counts,
        "index": info.__dict__,
        "seconds": work.stages.seconds,
        **({"profile": work.stages.to_dict()} if options.profile else {}),
    }
    return RecommendResult(
        command=command,
        method=recommender.method,
        how=recommender.explained(),
        mode=mode,
        dataset=recommender.dataset,
        checkpoint=summary,
        table=table,
        candidates=int(embedded.usable.sum()),
        left_out=left_out,
        with_text=int(text.sum()),
        with_image=int(image.sum()),
        with_both=int((text & image).sum()),
        encode_failures=failures,
        users_without_history=without,
        keep_seen=options.keep_seen,
        index=info,
        self_check=check,
        timings=work.stages.seconds,
        notes=_notes(recommender.dataset, mode, left_out, failures, without, table),
        run=run,
        stages=work.stages,
        work=work,
    )


def _notes(
    dataset: Dataset,
    mode: Mode,
    left_out: tuple[str, ...],
    failures: tuple[tuple[str, str], ...],
    without: tuple[str, ...],
    table: RecommendationTable,
) -> tuple[str, ...]:
    notes = []
    if mode == "similar":
        notes.append(
            "The data set has no interactions: each list holds the items most similar to one item. "
            "--history recommends for an ad-hoc user."
        )
    for problem in dataset.report.problems:
        if problem.severity == "warning":
            shown = problem.examples[0] if problem.examples else None
            place = f", first in {shown.file}:{shown.line}: {shown.message}" if shown else ""
            notes.append(f"{problem.message} ({problem.count:,}{place}).")
    if left_out:
        notes.append(f"{len(left_out)} items have no usable text or image and cannot be recommended: {_few(left_out)}.")
    if failures:
        first = "; ".join(f"{item}: {reason}" for item, reason in failures[:5])
        notes.append(f"{len(failures)} images or texts could not be read and count as missing: {first}.")
    if without:
        notes.append(f"{len(without)} users have no usable item in their history and get no list: {_few(without)}.")
    short = table.short()
    if short:
        notes.append(f"{short} lists are shorter than asked for: not enough items are left to recommend.")
    return tuple(notes)


def _few(ids: tuple[str, ...]) -> str:
    return ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")


def write_outputs(result: RecommendResult, folder: Path) -> None:
    """Write ``recommendations.csv`` and ``run.json``, each whole or not at all.

    ``user_id`` holds the query item's id in mode ``"similar"``. Scores are written with six decimals.

    Raises:
        OutputError: a file could not be written.
    """
    with atomic_write(folder / "recommendations.csv") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["user_id", "item_id", "rank", "score"])
        writer.writerows(result.table.lines(result.dataset.catalog.ids))
    write_json(folder / "run.json", result.run)
