"""What a pretraining run writes into ``metrics.json``, from which the card is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adapt.config import to_dict
from adapt.evaluate.significance import bootstrap_interval
from adapt.train.pretraining import FoldResult
from adapt.train.structure import Choice
from adapt.workflows.recipe import Recipe


def pretraining_metrics(
    recipe: Recipe,
    sources: Sequence[str],
    choices: Sequence[Choice],
    folds: Sequence[FoldResult],
    moved: tuple[int, float],
    run: Mapping[str, Any],
) -> dict[str, Any]:
    """How the checkpoint came about, and what it does on domains that were left out.

    Args:
        recipe: of the run.
        sources: names of the data sets.
        choices: of the structure parameters.
        folds: what training did to the left-out domains.
        moved: the step and the share of the way from the start that ship.
        run: the command that reproduces it, and what :meth:`adapt.workflows.run_folder.RunFolder.facts` says of the
            run; date, machine, time and memory are the only figures that differ when a recipe is run again.
    """
    weights = {name: value for name, value in to_dict(recipe.objectives).items() if isinstance(value, float) and value}
    pretraining = {
        "trained_on": list(sources),
        "objectives": weights,
        "steps": moved[0],
        "share_of_the_way_from_the_training_free_start": moved[1],
        "licences": recipe.licences,
        "notes": recipe.notes,
    }
    left_out = [_choice_table(choice) for choice in choices]
    if folds:
        left_out.append(fold_table(folds, moved))
    shared = {"repository": recipe.repository, "license": recipe.license}
    named = {name: value for name, value in shared.items() if value}
    return {**named, "pretraining": pretraining, "run": dict(run), "left_out": left_out}


def with_encoder(metrics: dict[str, Any], encoder: Mapping[str, Any] | None) -> dict[str, Any]:
    """The metrics of a checkpoint with those of the encoder stage that its text encoder came from, if it had one."""
    if encoder is None:
        return metrics
    tuned = {name: encoder["pretraining"][name] for name in ("steps", "share_of_the_way_from_the_untuned_encoder")}
    pretraining = {
        **metrics["pretraining"],
        "text_encoder": {"trained_on": encoder["pretraining"]["trained_on"], **tuned},
    }
    run = {**metrics["run"], "seconds": metrics["run"]["seconds"] + encoder["run"]["seconds"]}
    return {**metrics, "pretraining": pretraining, "run": run, "left_out": [*encoder["left_out"], *metrics["left_out"]]}


def _choice_table(choice: Choice) -> dict[str, Any]:
    chosen = ", ".join(f"{name} {value:g}" for name, value in zip(choice.names, choice.setting, strict=True))
    views = " and ".join(sorted({view for scores in choice.scores.values() for _, view in scores}))
    if not choice.left_out:
        (source,) = {source for scores in choice.scores.values() for source, _ in scores}
        reached = np.mean(list(choice.scores[choice.setting].values()))
        rows = [[source, *(f"{value:g}" for value in choice.setting), f"{reached:.4f}", f"{reached:.4f}"]]
        how = f"chosen on {source}, the only source that can be measured"
    else:
        rows = [
            [name, *(f"{value:g}" for value in setting), f"{score:.4f}", f"{best:.4f}"]
            for name, (setting, score, best) in choice.left_out.items()
        ]
        how = "chosen from all sources; each row has the choice of the other domains and what it reaches there"
    return {
        "caption": f"Structure of {views} items: {chosen}, {how} (training-free towers).",
        "columns": ["left-out domain", *choice.names, "NDCG@10", "best NDCG@10 of the grid"],
        "rows": rows,
    }


def describe_fold(fold: FoldResult) -> str:
    """One line on what training did to a left-out domain: the change of NDCG@10 by view at the last point measured."""
    if not fold.trained:
        return f"{fold.source} left out: not measured."
    (step, share), trained = list(fold.trained.items())[-1]
    changes = [
        f"{view} {start.mean():.4f} {100 * (trained[view].mean() / max(start.mean(), 1e-9) - 1):+.1f} %"
        for view, start in fold.start.items()
        if len(start)
    ]
    return f"{fold.source} left out, NDCG@10 at step {step}, {share:.0%} of the way: {', '.join(changes) or 'no case'}."


def fold_table(folds: Sequence[FoldResult], moved: tuple[int, float]) -> dict[str, Any]:
    rows = []
    for fold in folds:
        for view, start in fold.start.items():
            if not len(start):
                continue
            trained = fold.trained[moved][view] if moved[0] else start
            interval = bootstrap_interval(trained - start)
            change = 100 * (trained.mean() / max(start.mean(), 1e-9) - 1)
            rows.append(
                [
                    fold.source,
                    view,
                    len(start),
                    f"{start.mean():.4f}",
                    f"{trained.mean():.4f}",
                    f"{change:+.1f} %",
                    f"[{interval.low:+.4f}, {interval.high:+.4f}]",
                ]
            )
    return {
        "caption": "What training on the other sources does to a domain that is left out (zero-shot, NDCG@10).",
        "columns": ["left-out domain", "items", "cases", "training-free start", "trained", "change", "95 % interval"],
        "rows": rows,
    }
