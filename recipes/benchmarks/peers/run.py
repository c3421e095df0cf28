"""Peers on the very same split as ours: SASRec of RecTools and iALS of `implicit`, tuned on the validation event.

    python recipes/benchmarks/peers/run.py --data DIR [--data DIR ...] [--python PEERS_PYTHON] [--peer sasrec]

Each user's last event is hidden and ranked among the whole catalog, seen items excluded, all users; the event before it
is the validation event. `strict`: neither is trained on, as papers do; `live`: all but the hidden events are, with the
settings that were chosen on the validation event. A history is always all that the user met before the hidden event.
Peers give vectors of histories and items, the ranks are computed here. What a peer cannot recommend is a miss.

Prints a table and one line of JSON per data set. README.md says how the peers' environment is made.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from exchange import Answer, Histories, Question, read_answer, write_question

from adapt import load_dataset
from adapt.data.catalog import Interactions
from adapt.data.split import drop_last
from adapt.evaluate.baselines import popularity, tuned_item_knn
from adapt.evaluate.ease import ease
from adapt.evaluate.ranking import Evaluation, Method, evaluate, rank_cases
from adapt.evaluate.significance import bootstrap_interval
from adapt.evaluate.tasks import Task, leave_one_out_task
from adapt.hub.card import markdown_table
from adapt.machine import processor

HERE = Path(__file__).resolve().parent
METRICS = ("recall@10", "ndcg@10")
DECIDING = "ndcg@10"

# SASRec scores the whole catalog for every event of a batch: C's allocator (glibc's, elsewhere this says nothing) is to
# keep those pages for the next step. The same arithmetic in .55 of the time.
KEEP_PAGES = "glibc.malloc.mmap_threshold=4000000000:glibc.malloc.trim_threshold=8000000000:glibc.malloc.hugetlb=1"

# Few and fair: for each peer what its papers and makers vary first. The loss of SASRec is RecTools' default, a softmax
# over the whole catalog.
SASREC: dict[str, object] = {"n_blocks": 2, "n_heads": 2, "lr": 1e-3, "batch_size": 128, "loss": "softmax"}
SETTINGS: dict[str, list[dict[str, object]]] = {
    "sasrec": [SASREC | {"n_factors": 64, "dropout_rate": 0.2}, SASREC | {"n_factors": 128, "dropout_rate": 0.5}],
    "ials": [
        {"factors": factors, "alpha": alpha, "regularization": penalty, "iterations": 15}
        for factors in (64, 256)
        for alpha in (1.0, 10.0, 40.0)
        for penalty in (0.1, 1.0, 10.0)
    ],
}


@dataclass(frozen=True, eq=False)
class Split:
    """One data set: what settings are chosen on, and the same hidden events with less and more training."""

    valid: Task
    strict: Task
    live: Task

    @classmethod
    def of(cls, interactions: Interactions, items: int) -> Split:
        usable = np.ones(items, bool)
        return cls(
            leave_one_out_task(drop_last(interactions), usable),
            leave_one_out_task(interactions, usable, "strict"),
            leave_one_out_task(interactions, usable, "live"),
        )


@dataclass(frozen=True, eq=False)
class Result:
    """One method: how the hidden events were ranked, and what it took."""

    strict: Evaluation
    live: Evaluation
    settings: dict[str, object]
    tried: int
    seconds: float


@dataclass(frozen=True)
class Peers:
    """How peers are run.

    Attributes:
        python: the interpreter of their environment.
        epochs: after which SASRec is looked at.
        length: events of a history that SASRec reads.
        limit: seconds that a training may take; what it had written by then counts.
    """

    python: str
    epochs: tuple[int, ...]
    length: int
    limit: int

    def ask(
        self, peer: str, train: Interactions, tasks: Sequence[Task], settings: dict[str, object]
    ) -> dict[str, Answer]:
        """What a peer answers after training; by file name, so that every number of epochs that was written counts."""
        question = Question(_plain(train), tuple(_plain(task.histories) for task in tasks), tasks[0].items)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_question(folder / "question.npz", question)
            command = [self.python, str(HERE / f"{peer}.py"), str(folder / "question.npz"), name, json.dumps(settings)]
            environment = {
                **os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GLIBC_TUNABLES": KEEP_PAGES
            }  # fmt: skip
            try:
                done = subprocess.run(
                    command, env=environment, capture_output=True, text=True, timeout=self.limit, check=False
                )
                failed = done.stderr if done.returncode else ""
            except subprocess.TimeoutExpired:
                failed = f"nothing was written within {self.limit} s"
            (folder / "question.npz").unlink()
            found = {file.stem: read_answer(file) for file in sorted(folder.glob("*.npz"))}
        if not found:
            raise SystemExit(f"{peer} {settings}: {failed[-2000:]}")
        return found

    def measure(self, peer: str, split: Split) -> Result:
        """Choose settings on the validation event, then rank the hidden ones with less and with more training."""
        started = time.monotonic()
        best: tuple[float, dict[str, object], str, Answer] | None = None
        tried = 0
        for settings in SETTINGS[peer]:
            full = dict(settings)
            if peer == "sasrec":
                full |= {"session_max_len": self.length, "write_after": list(self.epochs)}
            for stem, answer in self.ask(peer, split.strict.train, (split.valid, split.strict), full).items():
                reached = ranked(answer, 0, split.valid).metrics[DECIDING]
                print(f"  {peer} {settings} {stem}: validation {DECIDING} {reached:.4f}", flush=True)
                tried += 1
                if best is None or reached > best[0]:
                    best = (reached, full, stem, answer)
        assert best is not None
        _, settings, stem, answer = best
        strict = ranked(answer, 1, split.strict)
        if peer == "sasrec":
            settings = settings | {"write_after": [int(stem)]}
        (again,) = self.ask(peer, split.live.train, (split.live,), settings).values()
        return Result(strict, ranked(again, 0, split.live), settings, tried, time.monotonic() - started)


def _plain(histories: Interactions | object) -> Histories:
    return Histories(histories.offsets, histories.items)  # type: ignore[attr-defined]


def ranked(answer: Answer, number: int, task: Task) -> Evaluation:
    """The ranks of a task's hidden events by the vectors of a peer."""
    users, items = answer.users[number], answer.items

    def score(cases: np.ndarray) -> np.ndarray:
        scores: np.ndarray = users[cases] @ items.T
        scores[:, ~answer.known] = -np.inf
        return scores

    return rank_cases(score, task.histories, task.targets, task.candidates, ks=(10,))


def own(split: Split, method: Method) -> Result:
    """A baseline of ours, with nothing chosen."""
    started = time.monotonic()
    strict, live = (evaluate(method, task, ks=(10,)) for task in (split.strict, split.live))
    return Result(strict, live, {}, 0, time.monotonic() - started)


def baselines(items: int) -> dict[str, Method]:
    return {
        "popularity": lambda train: lambda _: popularity(train, items),
        "tuned item-kNN": lambda train: lambda histories: tuned_item_knn(train, histories, items),
        "EASE": lambda train: ease(train, items),
    }


def report(name: str, results: dict[str, Result]) -> None:
    """A table on the screen and a JSON line."""
    rows = []
    line: dict[str, object] = {"benchmark": "peers", "data": name, "machine": processor(), "methods": {}}
    for method, result in results.items():
        cells, entry = [], {}
        for training, found in (("strict", result.strict), ("live", result.live)):
            cells += [f"{found.metrics[key]:.4f}" for key in METRICS]
            gains = bootstrap_interval(1 / np.log2(found.ranks + 2) * (found.ranks < 10))
            entry[training] = {key: round(found.metrics[key], 5) for key in METRICS}
            entry[training][f"{DECIDING}_95"] = [round(gains.low, 5), round(gains.high, 5)]
        rows.append([method, *cells, f"{result.seconds:.0f}"])
        line["methods"][method] = entry | {  # type: ignore[index]
            "settings": result.settings, "tried": result.tried, "seconds": round(result.seconds, 1)
        }  # fmt: skip
    head = [f"{key} {training}" for training in ("strict", "live") for key in METRICS]
    print(f"\n{name}: leave-one-out, {next(iter(results.values())).live.policy}")
    print(markdown_table(["method", *head, "seconds in all"], rows))
    for method, result in results.items():
        if result.settings:
            print(f"{method}: {json.dumps(result.settings)}, chosen among {result.tried} on the validation event")
    print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, type=Path)
    parser.add_argument("--python", default=str(HERE / ".venv" / "bin" / "python"), help="of the peers' environment")
    parser.add_argument("--peer", action="append", choices=list(SETTINGS), help="default: all")
    parser.add_argument("--epochs", default="5,10,20,40", help="numbers of epochs of SASRec to choose from")
    parser.add_argument("--length", type=int, default=50, help="events of a history that SASRec reads")
    parser.add_argument("--limit", type=int, default=600, help="seconds that one training may take")
    args = parser.parse_args()
    peers = Peers(args.python, tuple(int(number) for number in args.epochs.split(",")), args.length, args.limit)
    for path in args.data:
        data = load_dataset(path)
        assert data.interactions is not None, f"{path} has no interactions"
        split = Split.of(data.interactions, len(data.catalog))
        results = {name: own(split, method) for name, method in baselines(len(data.catalog)).items()}
        for peer in args.peer or SETTINGS:
            results[peer] = peers.measure(peer, split)
        report(data.name, results)


if __name__ == "__main__":
    main()
