"""What a checkpoint knows across modalities: pictures find their own texts, and texts recommend pictures.

    python recipes/benchmarks/crossmodal.py --data DIR [--data DIR ...] [--checkpoint adapt-mini] [--count 2000]

- retrieval: of the held-back items (the `--count` whose ids have the smallest SHA-256; a recipe's `hold_back` keeps the
  same ones out of pretraining) that have a picture and a text, does a picture's own text come among the first 10, and
  the reverse? The features are normalised with the statistics of the other items, or with their own where those are
  fewer. Beside it, ridge regression fitted on the other items' pairs: what a catalog with pairs of its own can do.
- mixed: each item shows its text or its picture; NDCG@10 as a ratio to the block baseline (cosine within each modality,
  summed, with the best of four normalisations), on the same frozen features before tuning.
- crossed: histories of texts and candidates of pictures, and the reverse, on the items that have both; NDCG@10 as a
  share of what the weaker modality reaches within itself on those items.

The last two need interactions: each user's last item is hidden, full ranking, seen items excluded. Intervals are
bootstrap 95 % over items or users. Prints a table and one line of JSON for each data set.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from transfer import Target, best_baseline, evaluate, knn_scorer, read_target, shown, tower_scorer

from adapt import Checkpoint, load_dataset
from adapt.evaluate.baselines import Scorer
from adapt.evaluate.content import TREATMENTS
from adapt.evaluate.metrics import gains_at_k, hits_at_k, rank_of_target
from adapt.evaluate.significance import bootstrap_interval
from adapt.evaluate.tasks import subset
from adapt.features.normalise import fit_normaliser
from adapt.features.store import Features
from adapt.hub.card import markdown_table
from adapt.model.inference import embed_items, embed_users
from adapt.model.items import ItemFeatures
from adapt.seeds import generator
from adapt.train.sources import held_back
from adapt.workflows.embedding import encode_catalog, normalise_features

FEWEST_PAIRS = 500
RESAMPLES = 2000


def ranks_of_own(queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Rank of each query's own candidate, from 0, by inner product."""
    return rank_of_target(queries @ candidates.T, np.arange(len(queries)))


def retrieval(checkpoint: Checkpoint, features: dict[str, Features], ids: list[str], count: int) -> dict[str, object]:
    """Recall@10 of held-back items, picture to text and text to picture."""
    held = held_back(ids, count)
    both = np.logical_and(*(part.present for part in features.values()))
    pairs, others = np.flatnonzero(held & both), ~held if (~held).sum() >= held.sum() else np.ones_like(held)
    values, known = {}, {}
    for name, part in features.items():
        settings, statistics = checkpoint.spec.normalisation[name], checkpoint.statistics[name]
        normaliser = fit_normaliser(np.asarray(part.values)[others & part.present], statistics, settings)
        values[name] = normaliser(np.asarray(part.values)[pairs])
        known[name] = normaliser(np.asarray(part.values)[np.flatnonzero(both & ~held)])
    there = torch.ones(len(pairs), dtype=torch.bool)
    items = ItemFeatures({k: torch.from_numpy(v) for k, v in values.items()}, dict.fromkeys(values, there))
    sides = {k: embed_items(checkpoint.towers, items.only([k]), there.numpy()) for k in values}
    found: dict[str, object] = {"pairs": len(pairs), "chance": round(10 / len(pairs), 4)}
    found["image_to_text"] = interval_of(hits_at_k(ranks_of_own(sides["image"], sides["text"]), 10))
    found["text_to_image"] = interval_of(hits_at_k(ranks_of_own(sides["text"], sides["image"]), 10))
    if len(known["image"]) >= FEWEST_PAIRS:
        mapped = values["image"] @ ridge(known["image"], known["text"])
        found["image_to_text_ridge_on_its_own_pairs"] = interval_of(hits_at_k(ranks_of_own(mapped, values["text"]), 10))
    return found


def ridge(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Map of unit features to the other modality's, with a penalty of the features' mean square."""
    gram = (x.T @ x).astype(np.float64)
    return np.linalg.solve(gram + np.diag(gram).mean() * np.eye(len(gram)), x.T @ t).astype(np.float32)


def mixed(checkpoint: Checkpoint, target: Target) -> dict[str, object]:
    """NDCG@10 where each item shows one modality, against the best block baseline."""
    ids = target.data.catalog.ids
    scorer, usable = tower_scorer(checkpoint, shown(target.features, ids, "mixed"), target)
    untuned = shown(target.untuned, ids, "mixed")
    found = {"ours": evaluate(scorer, target, usable)}
    for treatment in TREATMENTS:
        found[f"content-kNN {treatment}"] = evaluate(knn_scorer(untuned, target, treatment), target, usable)
    best = best_baseline(found)
    ours, baseline = (gains_at_k(found[name].ranks, 10) for name in ("ours", best))
    return {
        "users": len(ours),
        "ndcg@10": round(float(ours.mean()), 4),
        "block_baseline": round(float(baseline.mean()), 4),
        "best_baseline": best,
        "ratio": ratio_of(ours, baseline),
        "difference": interval_of(ours - baseline),
    }


def crossed(checkpoint: Checkpoint, target: Target) -> dict[str, object]:
    """NDCG@10 with histories of one modality and candidates of the other, on the items that have both."""
    items, _ = normalise_features(target.features, checkpoint.spec, checkpoint.statistics)
    both = torch.stack(list(items.present.values())).all(dim=0).numpy()
    sides = {name: embed_items(checkpoint.towers, items.only([name]), both) for name in items.values}
    task = target.task
    read = [bool(both[task.histories.history(case)].any()) for case in range(len(task))]
    asked = np.array(read) & both[task.targets]
    narrowed = replace(target, task=subset(task, asked))

    def gains(history: str, candidate: str) -> np.ndarray:
        scorer = crossing(checkpoint, narrowed, items.only([history]), sides[history], sides[candidate], both)
        return gains_at_k(evaluate(scorer, narrowed, both).ranks, 10)

    within = {name: gains(name, name) for name in sides}
    weaker = min(within, key=lambda name: float(within[name].mean()))
    found: dict[str, object] = {"users": int(asked.sum()), "items": int(both.sum()), "weaker": weaker}
    found |= {f"{name}_within": round(float(values.mean()), 4) for name, values in within.items()}
    for history, candidate in (("text", "image"), ("image", "text")):
        reached = gains(history, candidate)
        found[f"{history}_to_{candidate}"] = round(float(reached.mean()), 4)
        found[f"{history}_to_{candidate}_share"] = ratio_of(reached, within[weaker])
    return found


def crossing(
    checkpoint: Checkpoint,
    target: Target,
    shown_items: ItemFeatures,
    known: np.ndarray,
    candidates: np.ndarray,
    usable: np.ndarray,
) -> Scorer:
    """Scores of users, whose histories are read as ``known``, for ``candidates``."""

    def score(cases: np.ndarray) -> np.ndarray:
        histories = [history[usable[history]] for history in map(target.task.histories.history, cases)]
        return embed_users(checkpoint.towers, histories, shown_items, known) @ candidates.T

    return score


def interval_of(values: np.ndarray) -> list[float]:
    """Mean, and both ends of its interval."""
    found = bootstrap_interval(values)
    return [round(value, 4) for value in (found.mean, found.low, found.high)]


def ratio_of(values: np.ndarray, base: np.ndarray) -> list[float]:
    """Ratio of two means over the same users, and both ends of its interval."""
    random = generator(0)
    draws = [random.integers(len(values), size=len(values)) for _ in range(RESAMPLES)]
    ratios = [values[draw].mean() / max(base[draw].mean(), 1e-9) for draw in draws]
    low, high = np.quantile(ratios, [0.025, 0.975])
    return [round(float(value), 3) for value in (values.mean() / max(base.mean(), 1e-9), low, high)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, type=Path)
    parser.add_argument("--checkpoint", default="adapt-mini")
    parser.add_argument("--count", type=int, default=2000)
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    checkpoint = Checkpoint.from_pretrained(args.checkpoint)
    for path in args.data:
        data = load_dataset(path)
        features, _ = encode_catalog(checkpoint.spec, data.catalog)
        if len(features) < 2:
            parser.error(
                f"expected a data set with text and images, found {path} with {' and '.join(features) or 'none'}"
            )
        parts = {"retrieval": retrieval(checkpoint, features, list(data.catalog.ids), args.count)}
        if data.interactions is not None:
            target = read_target(path, checkpoint)
            parts |= {"mixed": mixed(checkpoint, target), "crossed": crossed(checkpoint, target)}
        for name, part in parts.items():
            print(f"\n{data.name}, {name}")
            print(markdown_table(["figure", "value"], [[key, value] for key, value in part.items()]))
        print(
            json.dumps({"benchmark": "crossmodal", "checkpoint": args.checkpoint, "data": data.name, **parts}),
            flush=True,
        )


if __name__ == "__main__":
    main()
