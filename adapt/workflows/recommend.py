"""Recommendations for every user of a data set by any recommender, from one call, written with how they were made."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from adapt.config import config, to_dict
from adapt.data import ColumnOptions, Dataset, load_dataset
from adapt.errors import DataError, UsageError
from adapt.files import atomic_write, write_json
from adapt.hub.format import Checkpoint
from adapt.index import IndexInfo
from adapt.machine import versions
from adapt.model.inference import check_device
from adapt.progress import SILENT, Progress
from adapt.seeds import seed_everything
from adapt.workflows import training_free
from adapt.workflows.few_shot import interactions_of, remember
from adapt.workflows.recommender import Recommender, ZeroShotRecommender, zero_shot
from adapt.workflows.run_facts import Stages, hash_inputs, plain
from adapt.workflows.self_check import SelfCheck, self_check

Mode = Literal["users", "similar", "history"]


@config
class RecommendOptions:
    """What `adapt zero-shot`, `few-shot` or `recommend` was asked; see their help."""

    dataset: str
    checkpoint: str = "adapt-mini"
    users: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    k: int = 10
    keep_seen: bool = False
    seed: int = 0
    device: str = "cpu"
    strict: bool = False
    allow_download: bool = False
    columns: ColumnOptions = field(default_factory=ColumnOptions)
    index: Literal["auto", "exact", "hnsw"] = "auto"


@dataclass(frozen=True, eq=False)
class RecommendationTable:
    """The ranked lists, by column.

    Attributes:
        keys: user ids, query item ids in mode ``"similar"``, or ``("history",)``.
        histories: catalog rows of each, oldest first; the query item itself in mode ``"similar"``.
        rows: int64 (lists, k) catalog rows, best first, padded with -1.
        scores: float32 (lists, k), padded with -inf.
    """

    keys: tuple[str, ...]
    histories: tuple[NDArray[np.integer], ...]
    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


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


Make = Callable[[Dataset, Stages, Progress], Recommender]
"""From a data set to its recommender, with the time that each part took."""


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

        def make(dataset: Dataset, stages: Stages, progress: Progress) -> Recommender:
            known = interactions_of(dataset)
            zero = from_content(dataset, stages, progress)
            with stages.stage("memory"):
                return remember(zero, known, seed=options.seed, progress=progress)

        return make

    return recommend_run("few-shot", options, prepare, progress)


def from_checkpoint(options: RecommendOptions) -> Callable[[Dataset, Stages, Progress], ZeroShotRecommender]:
    """The zero-shot recommender of the checkpoint that the options name, which is read at once."""
    named = options.checkpoint != training_free.NAME
    checkpoint = Checkpoint.from_pretrained(options.checkpoint, device=options.device) if named else None

    def make(dataset: Dataset, stages: Stages, progress: Progress) -> ZeroShotRecommender:
        with stages.stage("encode and index"):
            return zero_shot(
                checkpoint or training_free.training_free(dataset),
                dataset,
                index=options.index,
                allow_download=options.allow_download,
                device=options.device,
                seed=options.seed,
                progress=progress,
            )

    return make


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
    stages = Stages()
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
    recommender = make(dataset, stages, progress)
    with stages.stage("recommend"):
        mode, table, without = _recommend(recommender, options)
    with stages.stage("self-check"):
        check = self_check(recommender, options.k, options.seed, progress)
    return _result(command, options, recommender, mode, table, without, check, stages.seconds)


def _check(options: RecommendOptions) -> None:
    if options.k < 1:
        raise UsageError(f"expected --k of at least 1, found {options.k}")
    if options.users and options.history:
        raise UsageError("expected users or a history, found both", "Run the command twice.")
    check_device(options.device)


def _recommend(
    recommender: Recommender, options: RecommendOptions
) -> tuple[Mode, RecommendationTable, tuple[str, ...]]:
    """The lists, and the ids of users without a usable history."""
    dataset, usable = recommender.dataset, recommender.embedded.usable
    interactions = dataset.interactions
    histories: list[NDArray[np.integer]]
    mode: Mode
    if options.history:
        rows = dataset.catalog.rows(options.history)
        if recommender.needs_history and not usable[rows].any():
            raise DataError("expected at least one item with usable features in --history, found none")
        keys, histories, mode = ["history"], [rows], "history"
    elif interactions is not None and interactions.n_users:
        named = dict.fromkeys(options.users)  # a user named twice gets one list
        numbers = [interactions.user(user) for user in named] or range(interactions.n_users)
        keys = [interactions.user_ids[number] for number in numbers]
        histories = [interactions.history(number) for number in numbers]
        mode = "users"
    else:
        if options.users:
            raise DataError(
                f"expected interactions with the user {options.users[0]!r}, found items only",
                'Name an ad-hoc history with --history "id1,id2".',
            )
        rows = np.flatnonzero(usable)
        keys, histories, mode = (
            [dataset.catalog.ids[row] for row in rows],
            [rows[[n]] for n in range(len(rows))],
            "similar",
        )
    has = [not recommender.needs_history or bool(usable[history].any()) for history in histories]
    without = tuple(key for key, there in zip(keys, has, strict=True) if not there)
    kept_keys = tuple(key for key, there in zip(keys, has, strict=True) if there)
    kept = [history for history, there in zip(histories, has, strict=True) if there]
    if not kept:
        raise DataError(
            f"expected a user with at least one usable item in the history, found none among {len(keys)}",
            "`adapt data check` shows which items of the histories are in the catalog.",
        )
    if mode == "similar":
        found, scores = recommender.search_items(np.concatenate(kept), options.k)
    else:
        found, scores = recommender.search_histories(kept, options.k, keep_seen=options.keep_seen)
    return mode, RecommendationTable(kept_keys, tuple(kept), found, scores), without


def _result(
    command: str,
    options: RecommendOptions,
    recommender: Recommender,
    mode: Mode,
    table: RecommendationTable,
    without: tuple[str, ...],
    check: SelfCheck | None,
    seconds: Mapping[str, float],
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
        "arguments": plain(to_dict(options)),
        "versions": versions(),
        "seed": options.seed,
        "checkpoint": {"name": summary.name, "sha256": summary.sha256},
        "encoders": {name: encoder.id for name, encoder in embedded.encoders.items()},
        "data_sha256": hash_inputs(recommender.dataset),
        "counts": counts,
        "index": info.__dict__,
        "seconds": dict(seconds),
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
        timings=seconds,
        notes=_notes(recommender.dataset, mode, left_out, failures, without, table),
        run=run,
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
    short = int((table.rows[:, -1] < 0).sum())
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
    ids, table = result.dataset.catalog.ids, result.table
    with atomic_write(folder / "recommendations.csv") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["user_id", "item_id", "rank", "score"])
        for key, rows, scores in zip(table.keys, table.rows.tolist(), table.scores.tolist(), strict=True):
            writer.writerows(
                (key, ids[row], rank, f"{score:.6f}")
                for rank, (row, score) in enumerate(zip(rows, scores, strict=True), start=1)
                if row >= 0
            )
    write_json(folder / "run.json", result.run)
