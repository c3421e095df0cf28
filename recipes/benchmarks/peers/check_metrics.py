"""Our metrics beside those of RecTools, on the lists of a baseline on a real data set: they agree to 1e-9.

    python recipes/benchmarks/peers/check_metrics.py --data DIR [--python PEERS_PYTHON]

Prints both as a table and one line of JSON; exit status 1 where they differ.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from adapt import load_dataset
from adapt.evaluate import lists
from adapt.evaluate.baselines import tuned_item_knn
from adapt.evaluate.ranking import evaluate
from adapt.evaluate.tasks import leave_one_out_task
from adapt.hub.card import markdown_table

HERE = Path(__file__).resolve().parent
K = 20
TOLERANCE = 1e-9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--python", default=str(HERE / ".venv" / "bin" / "python"), help="of the peers' environment")
    args = parser.parse_args()
    data = load_dataset(args.data)
    assert data.interactions is not None, f"{args.data} has no interactions"
    items = len(data.catalog)
    task = leave_one_out_task(data.interactions, np.ones(items, bool))

    def method(train):  # type: ignore[no-untyped-def]
        # A little noise keeps equal scores out: ours share a rank, in a list one stands before the other.
        noise = np.random.default_rng(0).random(items) * 1e-3
        return lambda histories: lambda cases: tuned_item_knn(train, histories, items)(cases) + noise

    found = evaluate(method, task, k=K, ks=(1, 5, K))
    ours = dict(found.metrics) | {
        "novelty": lists.novelty(found.top, task.train),
        "popularity": lists.mean_popularity(found.top, task.train),
        "coverage": lists.coverage(found.top, task.candidates),
    }
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "lists.npz"
        train = task.train
        np.savez(
            file,
            top=found.top,
            targets=task.targets,
            candidates=task.candidates,
            users=train.users(),
            items=train.items,
        )
        command = [args.python, str(HERE / "rectools_metrics.py"), str(file)]
        theirs = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    rows = [
        [name, f"{ours[name]:.12f}", f"{value:.12f}", f"{ours[name] - value:.1e}"] for name, value in theirs.items()
    ]
    print(markdown_table(["metric", "ours", "RecTools", "difference"], rows))
    worst = max(abs(ours[name] - value) / max(1.0, abs(value)) for name, value in theirs.items())
    print(
        json.dumps({"benchmark": "check_metrics", "data": data.name, "cases": len(task), "largest_difference": worst})
    )
    sys.exit(0 if worst < TOLERANCE else 1)


if __name__ == "__main__":
    main()
