"""Batches without padding, where each item is embedded once, have the gradients of the plain computation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from adapt.data.batches import SequenceBatch, SequenceSampler, SequenceSource
from adapt.model.content import ContentTowers
from adapt.model.items import ItemFeatures
from adapt.model.mmsrec import MMSRec
from adapt.train.objectives.base import TrainingBatch
from adapt.train.objectives.cloze import Cloze
from adapt.train.objectives.next_item import NextItem
from tests.model.paper import paper_step, translate

ITEMS, WIDTH, LENGTH, DIM, DEPTH = 40, 6, 10, 16, 2
TEMPERATURE = torch.tensor(0.2)


@pytest.fixture
def source() -> SequenceSource:
    """Items occur again and again, in histories of all lengths."""
    random = np.random.default_rng(0)
    lengths = random.integers(2, 16, size=30)
    items = random.zipf(1.3, size=int(lengths.sum())).clip(max=ITEMS) - 1
    return SequenceSource(
        "s", ITEMS, np.concatenate([[0], np.cumsum(lengths)]), items.astype(np.int32), np.ones(ITEMS, dtype=bool)
    )


@pytest.fixture
def catalog() -> ItemFeatures:
    torch.manual_seed(0)
    values = {name: torch.randn(ITEMS, WIDTH) for name in ("image", "text")}
    return ItemFeatures(values, {"image": torch.arange(ITEMS) % 3 != 1, "text": torch.arange(ITEMS) % 3 != 2})


def training_batch(drawn: SequenceBatch, catalog: ItemFeatures) -> TrainingBatch:
    return TrainingBatch(
        items=catalog.take(torch.from_numpy(drawn.rows)),
        histories=torch.from_numpy(drawn.histories),
        targets=torch.from_numpy(drawn.targets),
        candidates=torch.from_numpy(drawn.candidates),
        log_q=torch.from_numpy(drawn.log_q),
        places=float((drawn.targets >= 0).sum()),
        catalog=catalog,
    )


def close(found: Tensor | None, expected: Tensor | None, name: str) -> None:
    assert found is not None, name
    assert expected is not None, name
    assert expected.abs().max() > 0, f"{name} takes part"
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5, msg=lambda text: f"{name}: {text}")


@pytest.mark.parametrize("negatives", [8, "all"])
def test_cloze_has_the_gradients_of_padded_sequences_and_a_whole_catalog(
    source: SequenceSource, catalog: ItemFeatures, negatives: int
) -> None:
    """The other side pads to the full length, encodes every item, and looks up the candidates' columns then."""
    step = paper_step()
    sizes = step.PaperSizes(WIDTH, WIDTH, DIM, DEPTH, 2, 16, LENGTH, 0.0, float(TEMPERATURE))
    torch.manual_seed(1)
    paper = step.PaperModel(
        sizes,
        {"vision": catalog.values["image"], "text": catalog.values["text"]},
        {"vision": catalog.present["image"], "text": catalog.present["text"]},
    )
    towers = MMSRec(
        {"image": WIDTH, "text": WIDTH}, dim=DIM, depth=DEPTH, heads=2, hidden=16, max_length=LENGTH, dropout=0.0
    )
    towers.load_state_dict(translate({k: v.clone() for k, v in paper.state_dict().items()}, DEPTH, DIM))
    drawn = SequenceSampler([source], 12, LENGTH, negatives, mask_ratio=0.3).batch(3)  # type: ignore[arg-type]
    loss = Cloze()(towers.train(), training_batch(drawn, catalog), TEMPERATURE)
    loss.backward()

    hidden = drawn.targets >= 0
    items = np.where(drawn.histories >= 0, drawn.rows[drawn.histories] + step.FIRST_ITEM, step.PADDING)
    sequences = np.full((len(items), LENGTH), step.PADDING)
    sequences[:, LENGTH - items.shape[1] :] = np.where(hidden, step.MASK, items)
    logits = paper.train().logits(torch.from_numpy(sequences))[:, drawn.rows[drawn.candidates]]
    expected = F.cross_entropy(logits - torch.from_numpy(drawn.log_q), torch.from_numpy(drawn.targets[hidden]))
    expected.backward()

    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    gradients = translate({name: value.grad for name, value in paper.named_parameters()}, DEPTH, DIM)
    for name, parameter in towers.named_parameters():
        if name.endswith("k_proj.bias"):  # moves all scores of a query alike
            continue
        close(parameter.grad, gradients[name], name)


def test_next_item_has_the_gradients_of_one_user_and_one_place_at_a_time(
    source: SequenceSource, catalog: ItemFeatures
) -> None:
    torch.manual_seed(1)
    towers = ContentTowers(
        {"image": WIDTH, "text": WIDTH},
        shared=WIDTH,
        private={"image": 4},
        width=8,
        heads=2,
        hidden=8,
        max_length=LENGTH,
    ).eval()
    for parameter in towers.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    drawn = SequenceSampler([source], 12, LENGTH, 8).batch(3)
    inputs = dict(towers.named_parameters())
    loss = NextItem()(towers, training_batch(drawn, catalog), TEMPERATURE)
    found = torch.autograd.grad(loss, list(inputs.values()))

    losses = []
    log_q = torch.from_numpy(drawn.log_q)
    for history, targets in zip(drawn.histories, drawn.targets, strict=True):
        for place in np.flatnonzero(targets >= 0):
            rows = drawn.rows[history[: place + 1][history[: place + 1] >= 0]]
            items = catalog.take(torch.from_numpy(rows))
            user = towers.embed_users(torch.arange(len(rows))[None], items, towers.embed_items(items))[0]
            candidates = towers.embed_items(catalog.take(torch.from_numpy(drawn.rows[drawn.candidates])))
            logits = F.cosine_similarity(user[None], candidates) / TEMPERATURE - log_q
            losses.append(F.cross_entropy(logits, torch.tensor(targets[place])))
    expected = torch.stack(losses).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    for (name, _), ours, theirs in zip(
        inputs.items(), found, torch.autograd.grad(expected, list(inputs.values())), strict=True
    ):
        if name.endswith("k_proj.bias"):
            continue
        close(ours, theirs, name)
