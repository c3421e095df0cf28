"""The default towers start as the training-free scorer and learn from there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from adapt.model.content import ContentTowers
from adapt.model.inference import embed_items, embed_users
from adapt.model.items import ItemFeatures
from adapt.train.alignment_start import align_projections, fit_maps

TEXT, IMAGE, ITEMS = 6, 4, 12


@pytest.fixture
def towers() -> ContentTowers:
    torch.manual_seed(0)
    made = ContentTowers(
        {"text": TEXT, "image": IMAGE}, shared=TEXT, private={"image": IMAGE}, width=8, heads=2, hidden=8, max_length=5
    )
    return made.eval()


@pytest.fixture
def catalog() -> ItemFeatures:
    torch.manual_seed(1)
    values = {"text": F.normalize(torch.randn(ITEMS, TEXT)), "image": F.normalize(torch.randn(ITEMS, IMAGE))}
    present = {"text": torch.arange(ITEMS) % 4 != 1, "image": torch.arange(ITEMS) % 4 != 2}
    return ItemFeatures(values, present)


def blocks(catalog: ItemFeatures) -> np.ndarray:
    """Both modalities side by side, a missing one as zeros, unit length."""
    parts = [catalog.values[name] * catalog.present[name][:, None] for name in ("text", "image")]
    joined = torch.cat(parts, dim=1).numpy()
    return joined / np.linalg.norm(joined, axis=1, keepdims=True)


def test_item_embeddings_start_as_the_features(towers: ContentTowers, catalog: ItemFeatures) -> None:
    np.testing.assert_allclose(towers.embed_items(catalog).detach().numpy(), blocks(catalog), atol=1e-6)


def test_user_embeddings_start_as_the_decayed_mean(towers: ContentTowers, catalog: ItemFeatures) -> None:
    embeddings = embed_items(towers, catalog, np.ones(ITEMS, dtype=bool))
    histories = [np.array([3]), np.array([0, 5, 7]), np.arange(9)]
    states = embed_users(towers, histories, catalog, embeddings)
    for history, state in zip(histories, states, strict=True):
        read = history[-towers.max_length :]
        weights = np.exp(-0.4 * np.arange(len(read))[::-1])
        expected = weights @ embeddings[read]
        np.testing.assert_allclose(state, expected / np.linalg.norm(expected), atol=1e-5)


def test_scores_start_as_the_training_free_scorers(towers: ContentTowers, catalog: ItemFeatures) -> None:
    """Cosine of the decayed mean with items, written out one number at a time, with weights of modalities."""
    weight = {"text": 1.3, "image": 0.6}
    with torch.no_grad():
        towers.set_recency(0.7)
        for name, value in weight.items():
            towers.modality_weight[name].fill_(value)
    items = []
    for row in range(ITEMS):
        vector = [0.0] * (TEXT + IMAGE)
        for name, offset in (("text", 0), ("image", TEXT)):
            if catalog.present[name][row]:
                for axis, value in enumerate(catalog.values[name][row].tolist()):
                    vector[offset + axis] += weight[name] * value
        length = sum(value**2 for value in vector) ** 0.5
        items.append([value / length for value in vector])
    history = [2, 9, 4]
    state = [
        sum(np.exp(-0.7 * age) * items[row][axis] for age, row in enumerate(reversed(history))) for axis in range(10)
    ]
    expected = [sum(a * b for a, b in zip(state, item, strict=True)) / np.linalg.norm(state) for item in items]
    embeddings = embed_items(towers, catalog, np.ones(ITEMS, dtype=bool))
    (user,) = embed_users(towers, [np.array(history)], catalog, embeddings)
    np.testing.assert_allclose(embeddings @ user, expected, atol=1e-5)


def test_aligned_towers_let_texts_find_the_pictures_of_the_same_thing() -> None:
    """Pictures are a rotation of texts: once that is learned, a text-only history finds image-only items."""
    random = torch.Generator().manual_seed(0)
    texts = F.normalize(torch.randn(200, TEXT, generator=random))
    rotation = torch.linalg.qr(torch.randn(TEXT, TEXT, generator=random)).Q
    both = torch.ones(200, dtype=torch.bool)
    catalog = ItemFeatures({"text": texts, "image": texts @ rotation}, {"text": both, "image": both})
    towers = ContentTowers({"text": TEXT, "image": TEXT}, shared=TEXT, private={"image": TEXT}, width=8, heads=2).eval()
    is_text = torch.arange(200) < 100
    mixed = ItemFeatures(catalog.values, {"text": is_text, "image": ~is_text})

    def share_found() -> float:
        embeddings = embed_items(towers, mixed, np.ones(200, dtype=bool))
        users = embed_users(towers, [np.array([row]) for row in range(100)], mixed, embeddings)
        closest = texts[:100] @ texts[100:].T
        found = (torch.from_numpy(users) @ torch.from_numpy(embeddings[100:]).T).argmax(dim=1)
        return float((found == closest.argmax(dim=1)).float().mean())

    before = share_found()
    align_projections(towers, fit_maps(towers, [catalog]), shared={"image": 0.7})
    assert before < 0.1
    assert share_found() > 0.9


def test_every_place_predicts_as_the_history_up_to_it_does(towers: ContentTowers, catalog: ItemFeatures) -> None:
    for parameter in towers.parameters():
        torch.nn.init.normal_(parameter, std=0.2) if parameter.ndim > 1 else None
    embedded = towers.embed_items(catalog)
    whole = towers.embed_places(torch.tensor([[2, 4, 6, 8]]), embedded)[0]
    for end in range(1, 5):
        part = towers.embed_places(torch.tensor([[2, 4, 6, 8][:end]]), embedded)[0, -1]
        torch.testing.assert_close(whole[end - 1], part, rtol=1e-4, atol=1e-5)


def test_padding_changes_nothing(towers: ContentTowers, catalog: ItemFeatures) -> None:
    for parameter in towers.parameters():
        torch.nn.init.normal_(parameter, std=0.2) if parameter.ndim > 1 else None
    embedded = towers.embed_items(catalog)
    short = towers.embed_users(torch.tensor([[4, 6]]), catalog, embedded)
    padded = towers.embed_users(torch.tensor([[-1, -1, -1, 4, 6]]), catalog, embedded)
    torch.testing.assert_close(padded, short, rtol=1e-4, atol=1e-5)


def test_a_missing_modality_is_not_read(towers: ContentTowers, catalog: ItemFeatures) -> None:
    values = {name: value.clone() for name, value in catalog.values.items()}
    for name, present in catalog.present.items():
        values[name][~present] = 1e6
    changed = towers.embed_items(ItemFeatures(values, catalog.present))
    torch.testing.assert_close(changed, towers.embed_items(catalog))
    only = towers.embed_items(catalog.only(["text"]))[catalog.present["text"]]
    assert (only[:, TEXT:] == 0).all()


@pytest.fixture
def slack_towers() -> ContentTowers:
    torch.manual_seed(0)
    sizes = {"text": TEXT, "image": IMAGE}
    made = ContentTowers(sizes, TEXT, {"image": IMAGE}, width=8, heads=2, hidden=8, max_length=5, slack=True)
    with torch.no_grad():
        made.alone["text"].fill_(0.9)
        made.alone["image"].fill_(0.4)
    return made.eval()


def test_an_item_with_one_modality_counts_as_much_as_that_is_worth(
    towers: ContentTowers, slack_towers: ContentTowers, catalog: ItemFeatures
) -> None:
    """Scores are those of the towers without slack, times the item's length; and so is its weight in a history."""
    usable = np.ones(ITEMS, dtype=bool)
    plain, slack = (embed_items(made, catalog, usable) for made in (towers, slack_towers))
    text, image = (catalog.present[name].numpy() for name in ("text", "image"))
    length = np.maximum(0.9 * text, 0.4 * image)
    np.testing.assert_allclose(np.linalg.norm(slack, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(slack[:, :-1], plain * length[:, None], atol=1e-6)
    (user,) = embed_users(slack_towers, [np.array([2, 1, 5])], catalog, slack)
    expected = np.exp(-0.4 * np.arange(3)[::-1]) * length[[2, 1, 5]] @ plain[[2, 1, 5]]
    assert user[-1] == 0
    np.testing.assert_allclose(user[:-1], expected / np.linalg.norm(expected), atol=1e-5)


def test_gradients_are_finite_where_there_is_no_slack_left(slack_towers: ContentTowers, catalog: ItemFeatures) -> None:
    with torch.no_grad():
        slack_towers.alone["text"].fill_(1.0)
    embedded = slack_towers.embed_items(catalog)
    slack_towers.embed_places(torch.tensor([[1, 2, 3]]), embedded).pow(2).sum().backward()
    gradients = [part.grad for part in slack_towers.parameters() if part.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_a_modality_that_the_towers_do_not_know_is_refused(towers: ContentTowers) -> None:
    audio = ItemFeatures({"audio": torch.randn(2, 3)}, {"audio": torch.ones(2, dtype=torch.bool)})
    with pytest.raises(ValueError, match="audio"):
        towers.embed_items(audio)


def test_gradients_reach_every_residual_branch(towers: ContentTowers, catalog: ItemFeatures) -> None:
    embedded = towers.embed_items(catalog)
    places = towers.embed_places(torch.tensor([[-1, 1, 2, 3], [4, 5, 6, 7]]), embedded)
    (places @ embedded.T).pow(2).sum().backward()
    for name in (
        "refine.down_proj.weight",
        "user_map.weight",
        "up.weight",
        "log_recency",
        "projection.text.linear.weight",
    ):
        gradient = dict(towers.named_parameters())[name].grad
        assert gradient is not None, name
        assert torch.isfinite(gradient).all(), name
        assert gradient.abs().sum() > 0, name


def test_the_anchors_last_features_may_have_a_block_of_their_own() -> None:
    towers = ContentTowers(
        {"image": 5, "text": 7}, shared=4, private={"image": 5, "text": 3}, width=8, heads=2, hidden=8
    )
    assert towers.reach == {"image": 0, "text": 4}
    text, image = torch.nn.functional.normalize(torch.randn(2, 7), dim=-1), torch.randn(2, 5)
    here = torch.ones(2, dtype=torch.bool)
    embedded = towers.eval().embed_items(ItemFeatures({"text": text}, {"text": here})).detach()
    torch.testing.assert_close(embedded[:, :4], text[:, :4])  # shared
    torch.testing.assert_close(embedded[:, 9:], text[:, 4:])  # after the picture's block
    pictures = towers.embed_items(ItemFeatures({"image": image}, {"image": here})).detach()
    assert not pictures[:, :4].any()
    assert not pictures[:, 9:].any()


@torch.no_grad()
def test_a_branch_that_is_zero_is_computed_once_it_is_written_to(
    towers: ContentTowers, catalog: ItemFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    histories = torch.tensor([[0, 1, 2]])

    def states() -> torch.Tensor:
        return towers.embed_places(histories, towers.embed_items(catalog), last_only=True)

    start = states()
    with monkeypatch.context() as patched:
        patched.setattr(towers, "_silent", lambda layer: False)  # noqa: ARG005
        torch.testing.assert_close(states(), start, rtol=0, atol=0)
    with torch.enable_grad():
        torch.testing.assert_close(states().detach(), start)
    for layer in (towers.up, towers.user_map, towers.refine.down_proj):
        before = states()
        layer.weight.add_(0.1 * torch.randn_like(layer.weight))
        after = states()
        assert not torch.allclose(after, before)
        with torch.enable_grad():
            torch.testing.assert_close(states().detach(), after)
        layer.weight.zero_()
        torch.testing.assert_close(states(), start, rtol=0, atol=0)
    towers.up.bias.fill_(0.1)
    assert not torch.allclose(states(), start)
