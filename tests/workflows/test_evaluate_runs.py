"""Fine-tuning inside an evaluation: trained on known events alone, whatever a run has seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adapt.data import Dataset, load_dataset
from adapt.data.split import drop_last
from adapt.errors import CheckpointError, DataError, UsageError
from adapt.hub.format import Checkpoint
from adapt.workflows.evaluate import EvaluateOptions, evaluate, evaluate_run
from adapt.workflows.evaluate_results import EvaluationResult
from adapt.workflows.evaluate_runs import options_of, unknown_events
from adapt.workflows.finetune import FinetuneOptions, finetune
from adapt.workflows.finetune_settings import TrainingSettings
from adapt.workflows.run import Run

from .evaluate_cases import write_shop

SHORT = FinetuneOptions(rank=2, seed=1, training=TrainingSettings(epochs=2, targets=256, negatives=64))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("shop") / "walks", users=60)


@pytest.fixture(scope="module")
def data(shop: Path) -> Dataset:
    return load_dataset(shop)


@pytest.fixture(scope="module")
def on_all(tiny: Checkpoint, tiny_folder: Path, data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on every event of the shop."""
    base = Checkpoint.from_pretrained(str(tiny_folder))
    return finetune(base, data, SHORT, tmp_path_factory.mktemp("runs") / "all", reference=str(tiny_folder))


@pytest.fixture(scope="module")
def on_known(tiny_folder: Path, data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on all but the last event of each user."""
    assert data.interactions is not None
    known = replace(data, interactions=drop_last(data.interactions))
    base = Checkpoint.from_pretrained(str(tiny_folder))
    return finetune(base, known, SHORT, tmp_path_factory.mktemp("runs") / "known", reference=str(tiny_folder))


@pytest.fixture
def run(tiny_folder: Path, shop: Path) -> Callable[..., EvaluationResult]:
    def call(**options: object) -> EvaluationResult:
        return evaluate_run(EvaluateOptions(dataset=str(shop), checkpoint=str(tiny_folder), **options))  # type: ignore[arg-type]

    return call


def test_events_that_a_run_knows_beyond_those_allowed(on_all: Run, on_known: Run, data: Dataset) -> None:
    interactions = data.interactions
    assert interactions is not None
    known = drop_last(interactions)
    assert unknown_events(on_all, data, interactions) == 0
    assert unknown_events(on_all, data, known) == 60
    assert unknown_events(on_known, data, known) == 0
    assert unknown_events(on_known, data, drop_last(interactions, 2)) == 60
    others = replace(interactions, user_ids=tuple(f"x{user}" for user in interactions.user_ids))
    assert unknown_events(on_all, data, drop_last(others)) == 0, "events of other users are not hidden here"


def test_a_run_that_saw_hidden_events_is_never_asked(on_all: Run, on_known: Run, data: Dataset) -> None:
    leaky, clean = (evaluate([one], data) for one in (on_all, on_known))
    again, as_it_is = leaky.method("run all"), clean.method("run known")
    np.testing.assert_array_equal(again.ranks, as_it_is.ranks, "the same base and options on the same events")
    assert any("learned from 60 events that must not be known" in line for line in leaky.guards)
    assert any("evaluated as it is" in line for line in clean.guards)
    assert options_of(on_all).rank == 2
    with pytest.raises(UsageError, match="run itself"):
        evaluate([on_all.recommender(data, method="fine-tuned")], data)


def test_a_run_is_named_on_the_command_line_by_its_folder(on_known: Run, shop: Path) -> None:
    options = EvaluateOptions(dataset=str(shop), runs=(str(on_known.path),), methods=("popularity", "few-shot"))
    result = evaluate_run(options)
    assert [found.name for found in result.methods] == ["popularity", "few-shot", "run known"]
    assert result.checkpoint.name == on_known.base.config.name
    with pytest.raises(CheckpointError, match="a run"):
        evaluate_run(replace(options, runs=(str(shop),)))


def test_training_is_shared_by_the_methods_that_rest_on_it(run: Callable[..., EvaluationResult]) -> None:
    result = run(methods=("item-knn", "few-shot", "scratch", "fine-tuned", "fused"), learning_curve=(0.0, 1.0))
    assert [found.name for found in result.methods] == ["item-knn", "few-shot", "scratch", "fine-tuned", "fused"]
    assert result.timings["fused"] < result.timings["fine-tuned"]
    assert {"scratch", "fine-tuned", "fused"} <= set(result.curve[0].left_out)
    pairs = {(part.difference.ours, part.difference.theirs, part.fraction) for part in result.transfers}
    assert pairs == {("fine-tuned", "scratch", 1.0)}
    assert result.verdict.ship != "scratch"


def test_too_few_events_to_train_on_are_an_error_where_training_was_asked_for(
    tiny_folder: Path, tmp_path: Path
) -> None:
    folder = write_shop(tmp_path / "shop", users=1)
    with pytest.raises(DataError, match="expected"):
        evaluate_run(EvaluateOptions(dataset=str(folder), checkpoint=str(tiny_folder), methods=("fine-tuned",)))
