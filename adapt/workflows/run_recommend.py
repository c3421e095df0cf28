"""`adapt recommend`: recommendations from a fine-tune, for users and items that it knows and for new ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from adapt.data.catalog import Dataset
from adapt.errors import UsageError
from adapt.progress import SILENT, Progress
from adapt.shards import Work
from adapt.workflows.finetuned import METHODS
from adapt.workflows.recommend import Make, RecommendOptions, RecommendResult, index_kind, recommend_run
from adapt.workflows.recommender import Recommender
from adapt.workflows.run import Run


def recommend_from_run(
    path: str | Path, options: RecommendOptions, *, method: str = "", progress: Progress = SILENT
) -> RecommendResult:
    """Read a run and a data set, and recommend by the method that the run has chosen, or by another one.

    Args:
        path: the run's folder, or a reference to one that was shared.
        options: what was asked; which checkpoint is the run's to say.
        method: zero-shot, few-shot, fine-tuned or fused; empty = the chosen one.
        progress: told each stage.

    Raises:
        UsageError: options contradict each other, or there is no such method.
        DataError: the data set is unusable, or an id that was named is unknown.
        CheckpointError: the run or its base is unknown, damaged or does not fit.
    """
    if method and method not in METHODS:
        raise UsageError(f"expected a method among {', '.join(METHODS)}, found {method!r}")
    runs: list[Run] = []

    def prepare(options: RecommendOptions) -> Make:
        run = Run.load(path, device=options.device)
        runs.append(run)

        def make(dataset: Dataset, work: Work, progress: Progress) -> Recommender:
            with work.stages.stage("encode and index", len(dataset.catalog), "items"):
                recommender = run.recommender(
                    dataset,
                    method=method,
                    index=index_kind(options, dataset),
                    allow_download=options.allow_download,
                    device=options.device,
                    progress=progress,
                )
            recommender.fingerprint = run.sha256
            return recommender

        return make

    result = recommend_run("recommend", replace(options, checkpoint=str(path)), prepare, progress)
    (run,) = runs
    facts = {"path": run.reference, "sha256": run.sha256, "base": dict(run.record["base"]), "chosen": run.chosen}
    return replace(
        result, how=(*result.how, *run.explained(method or run.chosen)), run={**result.run, "finetuned": facts}
    )
