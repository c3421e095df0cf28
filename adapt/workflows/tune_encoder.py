"""The encoder stage of `adapt pretrain`: a static text table tuned on next items as far as left-out domains agree."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from adapt.data import Dataset, load_dataset
from adapt.errors import UsageError
from adapt.features.base import EncoderSpec
from adapt.features.normalise import Normalisation
from adapt.features.static import StaticEncoder, load_static
from adapt.features.static_delta import write_delta
from adapt.files import atomic_folder, bundled, sha256_file
from adapt.hub.card import markdown_table
from adapt.progress import SILENT, Progress
from adapt.seeds import seed_everything
from adapt.train.loop import run_loop
from adapt.train.pretraining import FoldResult, agreed, points
from adapt.train.sources import PretrainingSource, RawFeatures, prepare_source
from adapt.train.static_tuning import StaticTuning, TunedTable, token_lists
from adapt.workflows.embedding import events_of
from adapt.workflows.pretrain_metrics import fold_table
from adapt.workflows.recipe import Recipe

_CONTEXT = 20


@dataclass(frozen=True, eq=False)
class TuneResult:
    """A tuned table.

    Attributes:
        folder: what was written.
        folds: how tuning did on each left-out domain.
        step, mixture: how far the table moved: the step and the share of the way.
        metrics: what ``metrics.json`` holds.
        seconds: of the whole run.
    """

    folder: Path
    folds: tuple[FoldResult, ...]
    step: int
    mixture: float
    metrics: dict[str, Any]
    seconds: float


@dataclass(frozen=True, eq=False)
class _Catalog:
    """One data set: its texts and, prepared, its histories."""

    source: PretrainingSource
    texts: Sequence[str]


def tune_encoder(
    recipe: Recipe, datasets: Sequence[str], output: Path, command: str, *, resume: bool, progress: Progress = SILENT
) -> TuneResult:
    """Tune the static table of a recipe on several data sets and write it beside its base.

    Args:
        recipe: with the stage ``"encoder"`` and a bundled static text encoder.
        datasets: with texts and interactions.
        output: run folder.
        command: that reproduces the run, for the card.
        resume: continue the final training.
        progress: told every stage.

    Raises:
        UsageError: the recipe has no static text encoder, or a left-out data set is not among the data sets.
        DataError: a data set is unusable.
    """
    started = time.monotonic()
    seed_everything(recipe.seed)
    spec = recipe.encoders.get("text")
    if spec is None or spec.kind != "static" or not spec.name.startswith("bundled:"):
        raise UsageError("expected a bundled static text encoder in the recipe, found none")
    base = bundled("pretrained") / spec.name.removeprefix("bundled:")
    encoder = load_static(base, spec.max_length)
    catalogs = [_read(path, encoder, recipe, progress) for path in datasets]
    names = [catalog.source.name for catalog in catalogs]
    if unknown := [name for name in recipe.leave_out if name not in names]:
        raise UsageError(f"expected leave_out to name data sets of the run, found {', '.join(unknown)}")
    folds = tuple(_fold(recipe, encoder, catalogs, name, output, progress) for name in recipe.leave_out)
    step, mixture = agreed(folds)
    added = np.zeros_like(encoder.table)
    if step:
        task = _task(recipe, encoder, [catalog for catalog in catalogs if len(catalog.source.histories.items)])
        loop = replace(recipe.loop, stop_after=step, evaluate_every=0)
        run_loop(task, loop, output, resume=resume, device="cpu", progress=progress)
        added = mixture * (task.module.table.detach().numpy() - encoder.table)
    metrics = {
        "pretraining": {
            "trained_on": names,
            "steps": step,
            "share_of_the_way_from_the_untuned_table": mixture,
            "command": command,
            "notes": recipe.notes,
        },
        "left_out": [fold_table(folds, (step, mixture))] if folds else [],
    }
    folder = output / recipe.name
    _write(folder, base, added, recipe, spec, metrics)
    return TuneResult(folder, folds, step, mixture, metrics, time.monotonic() - started)


def _read(path: str, encoder: StaticEncoder, recipe: Recipe, progress: Progress) -> _Catalog:
    data: Dataset = load_dataset(path, progress=progress)
    values = encoder.encode(data.catalog.texts)
    features = {"text": RawFeatures(values, np.abs(values).sum(axis=1) > 0)}
    offsets, items = events_of(data)
    ordered = data.name not in recipe.unordered
    source = prepare_source(data.name, features, offsets, items, ordered=ordered, cases=recipe.cases, seed=recipe.seed)
    return _Catalog(source, data.catalog.texts)


def _task(recipe: Recipe, encoder: StaticEncoder, catalogs: Sequence[_Catalog]) -> StaticTuning:
    settings = Normalisation(power=recipe.structure.power[0], prior_count=recipe.prior_count)
    recency = recipe.structure.recency[0]
    return StaticTuning(
        module=TunedTable(encoder.table, recency, recipe.objectives.temperature),
        sources=[token_lists(encoder, catalog.texts, catalog.source, settings) for catalog in catalogs],
        batch_size=recipe.objectives.batch_size,
        length=_CONTEXT,
        seed=recipe.seed,
        encoder=encoder,
        settings=settings,
        recency=recency,
        mixtures=recipe.mixtures,
    )


def _fold(
    recipe: Recipe,
    encoder: StaticEncoder,
    catalogs: Sequence[_Catalog],
    name: str,
    output: Path,
    progress: Progress,
) -> FoldResult:
    """Tune without one domain and measure it there."""
    (left,) = [catalog for catalog in catalogs if catalog.source.name == name]
    others = [c for c in catalogs if c is not left and len(c.source.histories.items)]
    task = _task(recipe, encoder, others)
    task.left_out = (left.source, left.texts)
    start = task.measure(encoder.table)
    progress.note(f"Tuning without {name}, to see what it does there.")
    run_loop(task, recipe.loop, output / "folds" / name, device="cpu", progress=progress)
    trained = points(recipe.loop, task.measured)
    changes = {
        f"{step} x {share}": f"{100 * (v['text'].mean() / start['text'].mean() - 1):+.1f} %"
        for (step, share), v in trained.items()
    }
    progress.note(f"{name}: {changes}")
    return FoldResult(name, start, trained)


def _write(
    folder: Path, base: Path, added: np.ndarray, recipe: Recipe, spec: EncoderSpec, metrics: dict[str, Any]
) -> None:
    """The encoder's folder: delta, base, metrics, card and hashes."""
    with atomic_folder(folder, replace=True) as temporary:
        write_delta(temporary, base, added)
        text = json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False)
        (temporary / "metrics.json").write_text(text + "\n", encoding="utf-8")
        (temporary / "README.md").write_text(_card(recipe, spec, metrics), encoding="utf-8")
        names = sorted(path.name for path in temporary.iterdir())
        sums = "".join(f"{sha256_file(temporary / name)}  {name}\n" for name in names)
        (temporary / "SHA256SUMS").write_text(sums, encoding="utf-8")


def _card(recipe: Recipe, spec: EncoderSpec, metrics: dict[str, Any]) -> str:
    pretraining = metrics["pretraining"]
    facts = [
        ["Base", f"`{spec.name.removeprefix('bundled:')}`, in the folder beside this one"],
        ["Tuned on", ", ".join(pretraining["trained_on"])],
        [
            "Moved",
            f"{pretraining['share_of_the_way_from_the_untuned_table']:g} of the way of {pretraining['steps']} steps",
        ],
        ["Licence", "Apache-2.0"],
        ["Made by", f"`{pretraining['command']}`"],
    ]
    parts = [f"# {recipe.name}", recipe.summary, markdown_table(["", ""], facts)]
    for table in metrics["left_out"]:
        parts += [table["caption"], markdown_table(table["columns"], table["rows"])]
    front = "---\nlicense: apache-2.0\nlibrary_name: adapt\nlanguage: en\n---\n\n"
    return front + "\n\n".join([*parts, *pretraining["notes"]]) + "\n"
