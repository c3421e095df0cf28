"""The `mmsrec` towers against the numbers of the paper's own code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from adapt.model.items import ItemFeatures
from adapt.model.losses import info_nce
from adapt.model.mmsrec import MMSRec

from .paper import paper_step, translate

TOLERANCE = 1e-5
OFFSET = 3  # the original numbers items from 3: 0 is padding, 1 the mask token, 2 unused


@dataclass(frozen=True)
class Golden:
    model: MMSRec
    catalog: ItemFeatures
    tensors: dict[str, Tensor]
    scalars: dict[str, object]

    def expect(self, name: str) -> Tensor:
        return self.tensors[f"expect.{name}"]


@pytest.fixture(scope="module")
def paper(golden: Path) -> Golden:
    scalars = json.loads((golden / "mmsrec.json").read_text())
    tensors = load_file(golden / "mmsrec.safetensors")
    config = scalars["config"]
    model = MMSRec(
        {"image": config["vision_feature_embed_dim"], "text": config["text_feature_embed_dim"]},
        dim=config["fusion_embed_dim"],
        depth=config["fusion_layers"],
        heads=config["fusion_heads"],
        hidden=config["fusion_feedforward_dim"],
        max_length=config["max_seq_length"],
        dropout=0.0,
    ).eval()
    original = {name.removeprefix("weights."): value for name, value in tensors.items() if name.startswith("weights.")}
    model.load_state_dict(translate(original, config["fusion_layers"], config["fusion_embed_dim"]))
    catalog = ItemFeatures(
        {"image": tensors["input.vision"], "text": tensors["input.text"]},
        {"image": tensors["input.vision_present"].bool(), "text": tensors["input.text_present"].bool()},
    )
    return Golden(model, catalog, tensors, scalars)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


def cloze(paper: Golden) -> tuple[Tensor, Tensor]:
    """Sequences with the original items, and which places are masked; labels are in row-major order."""
    given = paper.tensors["input.cloze_sequences"]
    return given.where(given < OFFSET, given - OFFSET).masked_fill(given < OFFSET, -1), given == 1


@torch.no_grad()
def test_item_embeddings(paper: Golden) -> None:
    close(paper.model.embed_items(paper.catalog), paper.expect("item_embeddings"))


@torch.no_grad()
def test_user_embeddings_and_scores(paper: Golden) -> None:
    sequences = paper.tensors["input.sequences"]
    rows = (sequences - OFFSET).clamp(min=-1)
    items = paper.model.embed_items(paper.catalog)
    users = paper.model.embed_users(rows[:, :-1], paper.catalog, items)
    close(users, paper.expect("user_embeddings"))
    close(F.normalize(users, dim=-1) @ F.normalize(items, dim=-1).T, paper.expect("scores"))
    assert torch.equal(rows[:, -1], paper.expect("labels"))


@torch.no_grad()
def test_cloze_logits_and_loss(paper: Golden) -> None:
    sequences, masked = cloze(paper)
    temperature = paper.scalars["config"]["contrastive_temperature"]  # type: ignore[index]
    hidden = paper.model.embed_masked(sequences, masked, paper.catalog)
    items = paper.model.embed_items(paper.catalog)
    logits = F.normalize(hidden, dim=-1) @ F.normalize(items, dim=-1).T / temperature
    close(logits, paper.expect("cloze_logits"))
    loss = F.cross_entropy(logits, paper.expect("cloze_labels"))
    assert loss.item() == pytest.approx(paper.scalars["cloze_loss"], abs=TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize(
    ("pair", "first", "second"),
    [("V-V", "image", "image"), ("V-T", "image", "text"), ("T-T", "text", "text"), ("VT-VT", "both", "both")],
)
def test_alignment_losses(paper: Golden, pair: str, first: str, second: str) -> None:
    """On items with both modalities; elsewhere the original scores a constant row, which we leave out of the pair."""
    views = {"image": ["image"], "text": ["text"], "both": ["image", "text"]}
    items = paper.catalog.take(paper.tensors["input.alignment_items_both"])
    assert all(present.all() for present in items.present.values())
    losses = info_nce(
        paper.model.embed_items(items.only(views[first])),
        paper.model.embed_items(items.only(views[second])),
        paper.scalars["config"]["contrastive_temperature"],  # type: ignore[index]
    )
    expected = paper.scalars["alignment_loss_pairs_items_with_both"][pair]  # type: ignore[index]
    assert losses.item() == pytest.approx(expected, abs=TOLERANCE)


@torch.no_grad()
def test_the_step_that_benchmarks_compare_with_is_that_of_the_paper(paper: Golden) -> None:
    config, tensors = paper.scalars["config"], paper.tensors
    assert isinstance(config, dict)
    sizes = paper_step().PaperSizes(
        vision=config["vision_feature_embed_dim"],
        text=config["text_feature_embed_dim"],
        dim=config["fusion_embed_dim"],
        depth=config["fusion_layers"],
        heads=config["fusion_heads"],
        hidden=config["fusion_feedforward_dim"],
        length=config["max_seq_length"],
        dropout=0.0,
        temperature=config["contrastive_temperature"],
    )
    names = ("vision", "text")
    features = {name: tensors[f"input.{name}"] for name in names}
    model = paper_step().PaperModel(sizes, features, {name: tensors[f"input.{name}_present"].bool() for name in names})
    original = {name.removeprefix("weights."): value for name, value in tensors.items() if name.startswith("weights.")}
    del original["embedding.prompt_embeddings.weight"]  # which no step reads
    model.load_state_dict(original)
    close(model.encode_catalog(), paper.expect("item_embeddings"))
    close(model.logits(tensors["input.cloze_sequences"]), paper.expect("cloze_logits"))
