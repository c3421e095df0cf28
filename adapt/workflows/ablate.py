"""Ablations: a base recipe and variants of it, trained on the same events and compared on the same users."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from adapt.config import config, parse, read_yaml, to_dict
from adapt.errors import UsageError
from adapt.evaluate.significance import bootstrap_interval, paired_bootstrap
from adapt.files import atomic_write, bundled, write_json
from adapt.hub.card import markdown_table
from adapt.machine import processor
from adapt.progress import SILENT, Progress
from adapt.train.in_domain import METRICS, POLICIES, HeldOutRanks, mean_over_runs
from adapt.workflows.in_domain import Domain, fit_domain, read_domain
from adapt.workflows.pretrain import PretrainOptions
from adapt.workflows.recipe import Recipe, load_recipe
from adapt.workflows.run_folder import RECIPE


@config
class Sweep:
    """What is compared.

    Attributes:
        summary: what the comparison is for, in a sentence.
        base: what the base is called in the table.
        recipe: keys of the base recipe, of the stage ``leave-one-out``.
        variants: name -> the keys that differ, nested as in the recipe.
        seeds: each variant is trained once with each; a user's figure is the mean.
        policy: whether the table counts items that a user has met as candidates; the JSON has both.
    """

    summary: str
    recipe: dict[str, Any]
    variants: dict[str, dict[str, Any]]
    base: str = "base"
    seeds: list[int] = field(default_factory=lambda: [0])
    policy: Literal["seen items kept", "seen items excluded"] = "seen items excluded"


@config
class AblateOptions:
    """What `adapt pretrain --ablate` was asked; see its help."""

    sweep: str
    datasets: tuple[str, ...]
    output: str
    resume: bool = False
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class AblateResult:
    """A finished comparison.

    Attributes:
        folder: holds ``ablation.md``, ``ablation.json`` and a run folder for each training.
        document: what ``ablation.json`` holds.
        tables: caption, columns and rows, one for each data set.
        seconds: of the whole run.
    """

    folder: Path
    document: Mapping[str, Any]
    tables: tuple[Mapping[str, Any], ...]
    seconds: float


def sweep_names() -> list[str]:
    """Names of the comparisons that come with the package."""
    return sorted(path.stem for path in (bundled("recipes") / "ablations").glob("*.yaml"))


def load_sweep(reference: str) -> Sweep:
    """Read a comparison, given by a path or by the name of one that comes with the package, and check all its recipes.

    Raises:
        UsageError: there is none, or a key or value does not fit.
    """
    path = Path(reference)
    if not reference.endswith((".yaml", ".yml")):
        if reference not in sweep_names():
            raise UsageError(
                f"expected a comparison out of {', '.join(sweep_names())}, or a .yaml file; found {reference!r}"
            )
        path = bundled("recipes") / "ablations" / f"{reference}.yaml"
    sweep = parse(Sweep, read_yaml(path), str(path))
    for name in (sweep.base, *sweep.variants):
        recipe_of(sweep, name, 0, str(path))
    return sweep


def recipe_of(sweep: Sweep, name: str, seed: int, source: str) -> Recipe:
    """The recipe of a variant.

    Raises:
        UsageError: a key is unknown, or the stage is another one; names the variant.
    """
    keys = merged(sweep.recipe, sweep.variants.get(name, {}))
    recipe = parse(Recipe, {"stage": "leave-one-out", **keys}, f"{source}, variant {name!r}")
    if recipe.stage != "leave-one-out":
        raise UsageError(f"expected recipes of the stage leave-one-out in {source}, found {recipe.stage}")
    first = recipe.alignment_first
    return replace(
        recipe,
        seed=seed,
        loop=replace(recipe.loop, seed=seed),
        alignment_first=replace(first, seed=seed) if first else None,
    )


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes``, mapping by mapping; what is no mapping is replaced.

    >>> merged({"a": {"x": 1, "y": 2}, "b": 3}, {"a": {"y": 4}})
    {'a': {'x': 1, 'y': 4}, 'b': 3}
    """
    out = dict(base)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(out.get(key), Mapping)
        out[key] = merged(out[key], value) if both else value
    return out


def ablate(options: AblateOptions, progress: Progress = SILENT) -> AblateResult:
    """Train the base and every variant with every seed on each data set, and compare them on the same users.

    Each training leaves its ranks in its run folder; a run that is resumed takes them from there when the recipe is
    still the same.

    Raises:
        UsageError: the comparison does not exist or does not fit, or there is no data set.
        DataError: a data set is unusable.
    """
    started = time.monotonic()
    if not options.datasets:
        raise UsageError("expected at least one --dataset, found none")
    sweep = load_sweep(options.sweep)
    compared = [_compare(sweep, dataset, options, progress) for dataset in options.datasets]
    document = {
        "sweep": to_dict(sweep),
        "command": command_of(options),
        "machine": processor(),
        "date": time.strftime("%Y-%m-%d"),
        "results": [results for results, _ in compared],
    }
    tables = tuple(table for _, table in compared)
    folder = Path(options.output)
    write_json(folder / "ablation.json", document)
    with atomic_write(folder / "ablation.md") as handle:
        handle.write(markdown(sweep, document, tables))
    return AblateResult(folder, document, tables, time.monotonic() - started)


def command_of(options: AblateOptions) -> str:
    """The command of a comparison, with names instead of paths."""
    names = " ".join(f"--dataset {Path(path).name}" for path in options.datasets)
    return f"adapt pretrain --ablate {Path(options.sweep).stem} {names}"


def markdown(sweep: Sweep, document: Mapping[str, Any], tables: tuple[Mapping[str, Any], ...]) -> str:
    """The tables as a page."""
    facts = f"Command: `{document['command']}`. Machine: {document['machine']}. Date: {document['date']}."
    parts = [sweep.summary.strip(), facts]
    for table in tables:
        parts += [table["caption"], markdown_table(table["columns"], table["rows"])]
    return "\n\n".join(parts) + "\n"


def _compare(
    sweep: Sweep, dataset: str, options: AblateOptions, progress: Progress
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What every variant reached on one data set, as JSON and as a table."""
    domains: dict[str, Domain] = {}
    runs: dict[str, list[HeldOutRanks]] = {}
    seconds: dict[str, float] = {}
    for number, name in enumerate((sweep.base, *sweep.variants)):
        for seed in sweep.seeds:
            recipe = recipe_of(sweep, name, seed, options.sweep)
            encoders = json.dumps(to_dict(recipe)["encoders"], sort_keys=True)
            if encoders not in domains:
                domains[encoders] = read_domain(recipe, dataset, device=options.device, progress=progress)
            folder = Path(options.output) / domains[encoders].name / f"{number:02}-seed-{seed}"
            progress.note(f"{domains[encoders].name}: {name}, seed {seed}")
            ranks, took = _ranks(recipe, domains[encoders], dataset, folder, options, progress)
            runs.setdefault(name, []).append(ranks)
            seconds[name] = seconds.get(name, 0.0) + took
    (name, *_) = {domain.name for domain in domains.values()}
    return _results(sweep, name, runs, seconds), _table(sweep, name, runs, seconds)


def _ranks(
    recipe: Recipe, domain: Domain, dataset: str, folder: Path, options: AblateOptions, progress: Progress
) -> tuple[HeldOutRanks, float]:
    """Train and test one variant with one seed, or read what an earlier run of it left; with the seconds it took."""
    written = folder / RECIPE
    resume = options.resume and written.is_file() and load_recipe(str(written)) == recipe
    asked = PretrainOptions(
        recipe=recipe.name, datasets=(dataset,), output=str(folder), resume=resume, device=options.device
    )
    result = fit_domain(recipe, domain, asked, progress, baselines=False)
    return result.ranks, result.seconds


def _paired(
    sweep: Sweep, runs: Mapping[str, list[HeldOutRanks]], name: str, policy: str, metric: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A metric of the base and of a variant for each user that both could be tested on."""
    base, other = runs[sweep.base], runs[name]
    first, second = (mean_over_runs(part, policy, metric) for part in (base, other))
    users, known = np.unique(base[0].users), np.unique(other[0].users)
    return first[np.isin(users, known)], second[np.isin(known, users)]


def _better(sweep: Sweep, runs: Mapping[str, list[HeldOutRanks]], name: str, seed: int) -> bool:
    """Is a variant better than the base with one seed?"""
    one = {sweep.base: [runs[sweep.base][seed]], name: [runs[name][seed]]}
    base, other = _paired(sweep, one, name, sweep.policy, "ndcg@10")
    return bool(other.mean() > base.mean())


def _results(
    sweep: Sweep, dataset: str, runs: Mapping[str, list[HeldOutRanks]], seconds: Mapping[str, float]
) -> dict[str, Any]:
    variants = []
    for name in runs:
        figures: dict[str, Any] = {}
        for policy in POLICIES:
            for metric in METRICS:
                base, other = _paired(sweep, runs, name, policy, metric)
                change = paired_bootstrap(other, base)
                figures.setdefault(policy, {})[metric] = {
                    "mean": float(other.mean()),
                    "by_seed": [float(run.values(policy, metric).mean()) for run in runs[name]],
                    "difference": [change.mean, change.low, change.high],
                }
        variants.append(
            {
                "name": name,
                "changes": sweep.variants.get(name, {}),
                "users": len(np.unique(runs[name][0].users)),
                "events": len(runs[name][0].users),
                "skipped": runs[name][0].skipped,
                "seconds": round(seconds[name], 1),
                "metrics": figures,
            }
        )
    return {"dataset": dataset, "variants": variants}


def _table(
    sweep: Sweep, dataset: str, runs: Mapping[str, list[HeldOutRanks]], seconds: Mapping[str, float]
) -> dict[str, Any]:
    rows = []
    for name in runs:
        recall, ndcg = (mean_over_runs(runs[name], sweep.policy, metric) for metric in ("recall@10", "ndcg@10"))
        interval = bootstrap_interval(ndcg)
        row = [name, f"{recall.mean():.4f}", f"{ndcg.mean():.4f} [{interval.low:.4f}, {interval.high:.4f}]"]
        if name == sweep.base:
            rows.append([*row, "", "", "", f"{seconds[name]:.0f}"])
            continue
        base, other = _paired(sweep, runs, name, sweep.policy, "ndcg@10")
        change = paired_bootstrap(other, base)
        relative = 100 * change.mean / max(float(base.mean()), 1e-9)
        better = sum(_better(sweep, runs, name, seed) for seed in range(len(sweep.seeds)))
        rows.append(
            [
                *row,
                f"{relative:+.1f} %",
                f"[{change.low:+.4f}, {change.high:+.4f}]{' *' if change.excludes_zero else ''}",
                f"{better} of {len(sweep.seeds)}",
                f"{seconds[name]:.0f}",
            ]
        )
    first = runs[sweep.base][0]
    users, seeds = len(np.unique(first.users)), len(sweep.seeds)
    return {
        "caption": f"{dataset}: {len(first.users):,} held-out events of {users:,} users, full ranking, {sweep.policy}, "
        f"mean of {seeds} seed{'s' if seeds > 1 else ''}; the difference is paired over users, 95 % interval, * = it "
        "excludes zero.",
        "columns": ["variant", "Recall@10", "NDCG@10", "change of NDCG@10", "difference", "seeds better", "seconds"],
        "rows": rows,
    }
