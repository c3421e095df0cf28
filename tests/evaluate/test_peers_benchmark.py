"""The benchmark of peers: what is asked, what is answered, and that answers are ranked like everything else."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from adapt.data.catalog import Interactions
from adapt.evaluate.histories import from_lists

FOLDER = Path(__file__).resolve().parents[2] / "recipes" / "benchmarks" / "peers"
ITEMS = 12

# Knows item 0 to 9; a history is the sum of its items' vectors, and after two epochs twice as sure as after one.
PEER = """
import json, sys
from pathlib import Path
import numpy as np
from exchange import Answer, read_question, write_answer

question, folder, settings = read_question(Path(sys.argv[1])), Path(sys.argv[2]), json.loads(sys.argv[3])
vectors = np.random.default_rng(settings["seed"]).normal(size=(question.catalog, 4)).astype(np.float32)
known = np.arange(question.catalog) < 10
users = tuple(np.array([vectors[asked[n]].sum(axis=0) for n in range(len(asked))]) for asked in question.asked)
write_answer(folder / "final.npz", Answer(users, vectors, known))
"""


@pytest.fixture
def run(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module("run")
    for name in ("run", "exchange"):
        sys.modules.pop(name, None)


@pytest.fixture
def split(run):
    rng = np.random.default_rng(1)
    lists = from_lists([rng.choice(ITEMS, size=length, replace=False) for length in rng.integers(4, 9, size=30)])
    events = Interactions(tuple(f"u{n}" for n in range(30)), lists.offsets, lists.items)
    return run.Split.of(events, ITEMS)


def test_settings_are_chosen_where_strict_training_ends(split):
    np.testing.assert_array_equal(split.valid.train.items, split.strict.train.items)
    np.testing.assert_array_equal(split.strict.targets, split.live.targets)
    for case in range(len(split.strict)):
        whole = split.strict.histories.history(case)
        assert split.valid.targets[case] == whole[-1]
        assert split.valid.histories.history(case).tolist() == whole[:-1].tolist()


def test_a_peer_is_asked_tuned_on_validation_and_ranked_by_our_rules(run, split, tmp_path, monkeypatch, capsys):
    (tmp_path / "exchange.py").write_text((FOLDER / "exchange.py").read_text())
    (tmp_path / "ials.py").write_text(PEER)
    monkeypatch.setattr(run, "HERE", tmp_path)
    monkeypatch.setitem(run.SETTINGS, "ials", [{"seed": seed} for seed in range(4)])
    peers = run.Peers(sys.executable, epochs=(1,), length=5, limit=60)
    result = peers.measure("ials", split)
    assert result.tried == 4

    def by_hand(task, seed):
        vectors = np.random.default_rng(seed).normal(size=(ITEMS, 4)).astype(np.float32)
        gains = []
        for case, target in enumerate(task.targets):
            history = task.histories.history(case)
            scores = vectors @ vectors[history].sum(axis=0)
            pool = [item for item in range(10) if item not in history]
            rank = sum(scores[item] > scores[target] for item in pool)
            gains.append(1 / np.log2(rank + 2) if target in pool and rank < 10 else 0.0)
        return np.mean(gains)

    best = max(range(4), key=lambda seed: by_hand(split.valid, seed))
    assert result.settings == {"seed": best}
    assert result.strict.metrics["ndcg@10"] == pytest.approx(by_hand(split.strict, best))
    assert result.live.metrics["ndcg@10"] == pytest.approx(by_hand(split.live, best))
    assert result.live.misses == np.count_nonzero(split.live.targets >= 10)

    run.report("shop", {"iALS": result})
    printed = capsys.readouterr().out.splitlines()
    line = json.loads(printed[-1])
    assert line["methods"]["iALS"]["settings"] == {"seed": best}
    assert line["methods"]["iALS"]["live"]["ndcg@10"] == pytest.approx(result.live.metrics["ndcg@10"], abs=1e-5)


def test_a_peer_that_fails_says_why(run, split, tmp_path, monkeypatch):
    (tmp_path / "ials.py").write_text("raise SystemExit('no such solver')")
    monkeypatch.setattr(run, "HERE", tmp_path)
    peers = run.Peers(sys.executable, epochs=(1,), length=5, limit=60)
    with pytest.raises(SystemExit, match="no such solver"):
        peers.ask("ials", split.strict.train, (split.valid,), {})
