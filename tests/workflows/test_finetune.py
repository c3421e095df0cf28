"""Fine-tuning from a data set to recommendations: what is chosen, kept, read back, and refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from adapt import load_dataset
from adapt.data import Dataset
from adapt.errors import CheckpointError, DataError, UsageError
from adapt.hub.format import Checkpoint, build_towers
from adapt.model.content import ContentTowers
from adapt.model.narrow import narrowed
from adapt.train.log import read_log
from adapt.workflows.finetune import FinetuneOptions, finetune
from adapt.workflows.finetune_settings import Adaptation
from adapt.workflows.finetune_task import trainable_towers
from adapt.workflows.finetune_validation import hold_back, measure
from adapt.workflows.finetuned import METHODS
from adapt.workflows.run import Run
from tests.workflows.finetune_cases import QUICK, write_shop, write_walkers
from tests.workflows.test_pretrain_modalities import always, never, write_catalog


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load_dataset(write_walkers(tmp_path_factory.mktemp("walk") / "walk"))


@pytest.fixture(scope="module")
def base(tiny_folder: Path) -> Checkpoint:
    return Checkpoint.from_pretrained(str(tiny_folder))


@pytest.fixture(scope="module")
def run(base: Checkpoint, tiny_folder: Path, data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finetune(base, data, QUICK, tmp_path_factory.mktemp("runs") / "walk", reference=str(tiny_folder))


def copied(run: Run, folder: Path) -> Path:
    shutil.copytree(run.path, folder)
    return folder


def changed(folder: Path, **values: object) -> Path:
    """A run whose ``run.json`` says something else."""
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, **values}))
    return folder


def test_the_best_on_validation_is_chosen_and_said(run: Run) -> None:
    methods = run.record["validation"]["methods"]
    assert tuple(methods) == METHODS
    reached = {name: found["ndcg@10"]["mean"] for name, found in methods.items()}
    assert reached[run.chosen] == max(value for name, value in reached.items() if name != "fine-tuned")
    assert reached["fine-tuned"] > reached["zero-shot"] + 0.1  # what follows what is learned
    for found in methods.values():
        assert found["ndcg@10"]["low"] <= found["ndcg@10"]["mean"] <= found["ndcg@10"]["high"]
        assert found["warm"]["events"] + found["cold"]["events"] == found["events"] == 48
    (sentence,) = run.explained(run.chosen)
    assert run.chosen in sentence
    assert f"{reached[run.chosen]:.4f}" in sentence


def test_what_was_trained_is_counted_and_timed(run: Run, base: Checkpoint) -> None:
    towers = run.record["trainings"]["towers"]
    assert isinstance(base.towers, ContentTowers)
    texts = 256  # the dimensions that a catalog of texts uses
    narrow = trainable_towers(narrowed(base.towers, torch.arange(texts)), Adaptation(), 0)
    adapted = sum(value.numel() for name, value in narrow.named_parameters() if "lora_" in name)
    whole = texts**2 + 2  # the map, with the recency and the temperature
    residuals = 40 * texts  # of the items that somebody has met
    assert towers["trainable_parameters"] == adapted + whole + residuals
    assert adapted > 0
    assert len(towers["validation_ndcg@10"]) * towers["steps_an_epoch"] == towers["steps"]
    assert run.record["trainings"]["refit"]["steps"] >= 1
    assert run.record["peak_memory_bytes"] > 1e8
    assert 0 < run.record["residual"]["mean_norm"] <= run.record["residual"]["max_norm"] <= 1
    names = {record["training"] for record in read_log(run.path / "log.jsonl")}
    assert names == {"lora-with-item-residual", "refit"}


def test_the_base_is_left_as_it_was(base: Checkpoint, run: Run, tiny_folder: Path) -> None:
    fresh = Checkpoint.from_pretrained(str(tiny_folder)).towers.state_dict()
    assert all(value.equal(fresh[name]) for name, value in base.towers.state_dict().items())
    on = run.adapter.on(base)
    assert on is not base.towers
    assert any("lora_" in name for name, _ in on.named_parameters())
    assert not any("lora_" in name for name, _ in base.towers.named_parameters())


def test_cold_items_keep_their_content_and_warm_ones_do_not(run: Run, data: Dataset) -> None:
    tuned = run.recommender(data, method="fine-tuned")
    met = np.zeros(len(data.catalog), bool)
    met[data.interactions.items] = True  # type: ignore[union-attr]
    assert met.any()
    assert not met.all()
    without = finetune_without_residual(run, data)
    moved = np.abs(tuned.embedded.embeddings - without).max(axis=1)
    assert (moved[~met] == 0).all()
    assert (moved[met] > 1e-4).all()


def finetune_without_residual(run: Run, data: Dataset) -> np.ndarray:
    from adapt.train.finetuning import embed_with_residual

    return embed_with_residual(run.towers, run.recommender(data, method="zero-shot").embedded.items, None)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_a_run_recommends(run: Run, data: Dataset, method: str) -> None:
    recommender = run.recommender(data, method=method)
    assert recommender.method == method
    (found,) = recommender.recommend(users=["u3"], k=5)
    assert len(found.item_ids) == 5
    seen = {data.catalog.ids[row] for row in recommender.history_of("u3")}
    assert not seen & set(found.item_ids)
    again = Run.load(run.path).recommender(data, method=method)
    assert again.recommend(users=["u3"], k=5) == [found]


def test_new_users_and_new_items_are_recommended_for_and_to(run: Run, tmp_path: Path) -> None:
    items = [f"{n},{title}" for n, title in ((0, "red tent"), (7, "blue lamp"), (8, "green lamp"))]
    shop = load_dataset(write_shop(tmp_path / "new", [*items, "new-1,red lamp"], ["zoe,0,1", "zoe,8,2"]))
    for method in METHODS:
        recommender = run.recommender(shop, method=method)
        (found,) = recommender.recommend(users=["zoe"], k=5)
        assert set(found.item_ids) == {"7", "new-1"}, method  # the new item can be found
        assert recommender.recommend(history=["new-1"], k=5)[0].item_ids
    known = run.remembered(shop)
    assert known.n_users > 10  # the run's users are remembered beside the new one
    assert known.history(0).tolist() == [0, 2]


def test_users_of_the_run_are_not_remembered_twice(run: Run, data: Dataset) -> None:
    remembered = run.remembered(data)
    assert data.interactions is not None
    assert np.array_equal(remembered.items, data.interactions.items)
    assert np.array_equal(remembered.offsets, data.interactions.offsets)


def test_the_same_map_for_the_same_item_in_another_catalog(run: Run, data: Dataset, tmp_path: Path) -> None:
    shop = load_dataset(write_shop(tmp_path / "new", ["3,black tent", "x,brown shoe"], []))
    other = run.recommender(shop, method="fine-tuned")
    mine = run.recommender(data, method="fine-tuned")
    np.testing.assert_allclose(other.embedded.embeddings[0], mine.embedded.embeddings[3], atol=1e-5)


@pytest.mark.parametrize("kind", ["full", "head"])
def test_towers_that_were_trained_themselves_are_read_back(
    base: Checkpoint, tiny_folder: Path, data: Dataset, tmp_path: Path, kind: str
) -> None:
    options = replace(QUICK, kind=kind, item_residual="off", refit=False)
    made = finetune(base, data, options, tmp_path / "run", reference=str(tiny_folder))
    before, after = base.towers.state_dict(), made.towers.state_dict()
    moved = {name for name, value in after.items() if not value.equal(before[name])}
    if kind == "head":
        assert moved == {"user_map.weight", "log_recency"}
    assert {"user_map.weight", "log_recency"} <= moved
    assert made.record["residual"] is None
    assert set(made.record["trainings"]) == {"towers"}
    with pytest.raises(CheckpointError, match=kind):
        _ = made.adapter
    split = hold_back(data.interactions, np.ones(len(data.catalog), bool), 1000, 0)  # type: ignore[arg-type]
    known = replace(data, interactions=split.train)
    figures = measure(made.recommender(known, method="fine-tuned"), split)
    expected = made.record["validation"]["methods"]["fine-tuned"]["ndcg@10"]["mean"]
    assert figures.ndcg == pytest.approx(expected, abs=1e-6)  # not refitted: what was measured is what was written


def test_a_base_that_is_nowhere_on_disk_is_kept_in_the_run(base: Checkpoint, data: Dataset, tmp_path: Path) -> None:
    untrained = replace(base, towers=build_towers("content", base.config.towers, "test").eval(), sha256="")
    made = finetune(untrained, data, replace(QUICK, refit=False), tmp_path / "run")
    assert (tmp_path / "run" / "base").is_dir()
    again = Run.load(tmp_path / "run")
    ask = {"history": ["3", "9"], "k": 4}
    assert again.recommender(data).recommend(**ask) == made.recommender(data).recommend(**ask)  # type: ignore[arg-type]


def test_a_base_that_is_saved_with_another_fingerprint_is_read_from_the_run(
    base: Checkpoint, data: Dataset, tmp_path: Path
) -> None:
    written_long_ago = replace(base, sha256="a" * 64)  # its files would not be written like that today
    made = finetune(written_long_ago, data, replace(QUICK, refit=False), tmp_path / "run", reference="nowhere")
    assert made.record["base"]["sha256"] == base.sha256
    assert made.recommender(data).recommend(history=["3", "9"], k=4)
    again = finetune(
        written_long_ago, data, replace(QUICK, refit=False), tmp_path / "run", reference="nowhere", resume=True
    )
    assert again.sha256 == made.sha256


def test_another_base_is_refused_with_both_hashes(run: Run, base: Checkpoint) -> None:
    other = replace(base, sha256="b" * 64)
    with pytest.raises(CheckpointError) as failure:
        Run.load(run.path, checkpoint=other)
    assert base.sha256 in str(failure.value)
    assert "b" * 64 in str(failure.value)
    with pytest.raises(CheckpointError, match="b" * 64):
        run.adapter.on(other)


@pytest.mark.parametrize("name", ["items.safetensors", "adapter/adapter_model.safetensors", "normaliser.safetensors"])
def test_a_damaged_or_missing_file_is_named(run: Run, tmp_path: Path, name: str) -> None:
    folder = copied(run, tmp_path / "run")
    path = folder / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="sha256"):
        Run.load(folder)
    path.unlink()
    with pytest.raises(CheckpointError, match=Path(name).name):
        Run.load(folder)


def test_what_is_no_finished_run_of_this_format_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a run"):
        Run.load(tmp_path)
    for number, (values, words) in enumerate(
        [
            ({"finished": False}, "--resume"),
            ({"command": "pretrain"}, "adapt pretrain"),
            ({"format_version": 99}, "format_version 1, found 99"),
        ]
    ):
        folder = changed(copied(run, tmp_path / str(number)), **values)
        with pytest.raises(CheckpointError, match=words):
            Run.load(folder)


def test_another_feature_spec_is_refused(run: Run, tmp_path: Path) -> None:
    base = {**run.record["base"], "encoders": {**run.record["base"]["encoders"], "text": "static:other"}}
    with pytest.raises(CheckpointError, match="feature spec"):
        Run.load(changed(copied(run, tmp_path / "run"), base=base))


def test_an_unknown_method_and_rank_zero_are_refused(run: Run, base: Checkpoint, data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fused"):
        run.recommender(data, method="best")
    with pytest.raises(UsageError, match="rank of at least 1, found 0"):
        finetune(base, data, FinetuneOptions(rank=0), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("events", "words"),
    [
        (["a,0,1", "a,1,2", "b,2,1"], "3 interactions or more, found at most 2"),
        (["a,0,1", "a,0,2", "a,0,3", "b,0,1", "b,0,2", "b,0,3"], "all of them on one"),
        (["a,0,1", "a,1,2", "a,2,3", "a,3,4"], "two or more users"),
    ],
)
def test_too_little_to_train_on_is_said(base: Checkpoint, tmp_path: Path, events: list[str], words: str) -> None:
    shop = write_shop(tmp_path / "few", ["0,red tent", "1,blue tent", "2,red lamp", "3,blue lamp"], events)
    with pytest.raises(DataError, match=words):
        finetune(base, load_dataset(shop), QUICK, tmp_path / "run")


def test_a_catalog_alone_is_refused(base: Checkpoint, data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="items only"):
        finetune(base, replace(data, interactions=None), QUICK, tmp_path / "run")


def test_few_events_without_timestamps_come_with_their_caveats(base: Checkpoint, tmp_path: Path) -> None:
    items = [f"{n},{title}" for n, title in enumerate(["red tent", "blue tent", "red lamp", "blue lamp", "rope"])]
    events = [f"u{user},{(user + when) % 5}" for user in range(4) for when in range(3)]
    made = finetune(base, load_dataset(write_shop(tmp_path / "few", items, events, timed=False)), QUICK)
    said = " ".join(made.record["caveats"])
    assert "Only 4 events" in said
    assert "no timestamps" in said
    assert made.chosen in METHODS


def test_a_data_set_with_other_modalities_is_said_to_be_one(
    run: Run, tmp_path: Path, data_set: Callable[..., Path]
) -> None:
    from PIL import Image

    folder = data_set("item_id,title,image\n1,red tent,a.png\n2,blue lamp,\n", "user_id,item_id\nu,1\n")
    Image.new("RGB", (8, 8), (200, 10, 10)).save(folder / "a.png")
    said: list[str] = []

    class Notes:
        def task(self, name: str, total: int | None, unit: str) -> object:
            from adapt.progress import SILENT

            return SILENT.task(name, total, unit)

        def note(self, message: str) -> None:
            said.append(message)

        def status(self, line: str) -> None:
            pass

    run.recommender(load_dataset(folder), progress=Notes())  # type: ignore[arg-type]
    assert any("trained without image" in line for line in said)


@pytest.mark.parametrize(
    ("texts", "images", "left_out"),
    [(never, always, 0), (always, always, 0), (lambda item: item % 3 != 0, lambda item: item % 4 == 0, 6)],
    ids=["images only", "both", "with gaps"],
)
def test_every_mixture_of_modalities_can_be_tuned_on(
    base: Checkpoint, tmp_path: Path, texts: Callable[[int], bool], images: Callable[[int], bool], left_out: int
) -> None:
    data = load_dataset(write_catalog(tmp_path / "shop", texts=texts, images=images))
    made = finetune(base, data, replace(QUICK, refit=False), tmp_path / "run")
    recommender = made.recommender(data, method="fine-tuned")
    assert int((~recommender.embedded.usable).sum()) == left_out
    found = recommender.recommend(users=["u0", "u1", "u2"], k=30)
    rows = {data.catalog.row(item) for one in found for item in one.item_ids}
    assert recommender.embedded.usable[list(rows)].all()
    assert set(made.normalisers) == {name for name in ("text", "image") if name in recommender.embedded.encoders}
