"""Closed-form alignment: pictures land where their texts are, one domain without spoiling another."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from adapt.model.content import ContentTowers
from adapt.model.items import ItemFeatures
from adapt.train.alignment_start import FEWEST_PAIRS, align_projections, fit_maps

WIDTH, ITEMS = 8, 300


def catalog(offset: Tensor, rotation: Tensor, seed: int, items: int = ITEMS) -> ItemFeatures:
    """Texts, and pictures that are a rotation of them around a place of their domain's own."""
    random = torch.Generator().manual_seed(seed)
    texts = F.normalize(torch.randn(items, WIDTH, generator=random), dim=-1)
    pictures = F.normalize(torch.cat([texts @ rotation, offset.expand(items, -1)], dim=1), dim=-1)
    both = torch.ones(items, dtype=torch.bool)
    return ItemFeatures({"text": texts, "image": pictures}, {"text": both, "image": both})


def make_towers(landmarks: int) -> ContentTowers:
    torch.manual_seed(0)
    return ContentTowers(
        {"text": WIDTH, "image": 2 * WIDTH},
        shared=WIDTH,
        private={"image": 2 * WIDTH},
        width=8,
        heads=2,
        landmarks={"image": landmarks} if landmarks else {},
    ).eval()


@pytest.fixture
def domains() -> list[tuple[ItemFeatures, ItemFeatures]]:
    """Of each of two domains whose pictures mean opposite things: what is learned from, and what is tested on."""
    random = torch.Generator().manual_seed(1)
    rotation = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=random)).Q
    places = torch.eye(WIDTH)[:2]
    return [
        (catalog(place, sign * rotation, seed), catalog(place, sign * rotation, seed + 10))
        for seed, (place, sign) in enumerate(zip(places, (1.0, -1.0), strict=True))
    ]


def found(towers: ContentTowers, items: ItemFeatures) -> float:
    """Share of pictures whose own text is the closest."""
    with torch.no_grad():
        scores = towers.embed_items(items.only(["image"])) @ towers.embed_items(items.only(["text"])).T
    return float((scores.argmax(dim=1) == torch.arange(len(items))).float().mean())


@pytest.mark.parametrize("landmarks", [0, 200])
def test_pictures_of_new_items_find_their_texts(
    domains: list[tuple[ItemFeatures, ItemFeatures]], landmarks: int
) -> None:
    known, new = domains[0]
    towers = make_towers(landmarks)
    before = found(towers, new)
    align_projections(towers, fit_maps(towers, [known]), shared={"image": 0.7})
    assert before < 0.05
    assert found(towers, new) > 0.9


def test_a_kernel_keeps_domains_apart_that_a_linear_map_mixes_up(
    domains: list[tuple[ItemFeatures, ItemFeatures]],
) -> None:
    shares = {}
    for landmarks in (0, 400):
        towers = make_towers(landmarks)
        align_projections(towers, fit_maps(towers, [known for known, _ in domains]), shared={"image": 0.7})
        shares[landmarks] = min(found(towers, new) for _, new in domains)
    assert shares[0] < 0.1
    assert shares[400] > 0.8


@pytest.mark.parametrize("landmarks", [0, 60])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_feature_is_as_long_in_the_shared_block_as_it_should_be(
    domains: list[tuple[ItemFeatures, ItemFeatures]], landmarks: int, share: float
) -> None:
    known, _ = domains[0]
    towers = make_towers(landmarks)
    align_projections(towers, fit_maps(towers, [known]), shared={"image": share})
    with torch.no_grad():
        projected = towers.projection["image"](known.values["image"])
    assert float(projected[:, :WIDTH].norm(dim=-1).mean()) == pytest.approx(share, rel=1e-3)
    torch.testing.assert_close(projected[:, WIDTH:], (1 - share**2) ** 0.5 * known.values["image"])


def test_landmarks_come_from_every_source_and_what_a_small_one_lacks_from_the_others(
    domains: list[tuple[ItemFeatures, ItemFeatures]],
) -> None:
    known, _ = domains[0]
    small = catalog(torch.eye(WIDTH)[1], torch.eye(WIDTH), 5, items=60)
    fitted = fit_maps(make_towers(200), [known, small])["image"]
    assert fitted.landmarks is not None
    of_small = (fitted.landmarks[:, WIDTH + 1] > 0.1).sum()
    assert (int(of_small), len(fitted.landmarks)) == (60, 200)


def test_more_landmarks_than_items_leave_the_rest_without_a_say() -> None:
    few = catalog(torch.eye(WIDTH)[0], torch.eye(WIDTH), 5, items=FEWEST_PAIRS)
    towers = make_towers(200)
    align_projections(towers, fit_maps(towers, [few]), shared={"image": 0.7})
    kernel = towers.projection["image"].kernel.weight  # type: ignore[union-attr]
    assert (kernel != 0).any(dim=0).sum() == FEWEST_PAIRS  # type: ignore[union-attr]


def test_too_few_pairs_leave_the_projection_as_it_is() -> None:
    few = catalog(torch.eye(WIDTH)[0], torch.eye(WIDTH), 5, items=FEWEST_PAIRS - 1)
    assert fit_maps(make_towers(0), [few]) == {}


def test_the_same_seed_gives_the_same_map(domains: list[tuple[ItemFeatures, ItemFeatures]]) -> None:
    known, _ = domains[0]
    first, again = (fit_maps(make_towers(50), [known], seed=3)["image"] for _ in range(2))
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, fit_maps(make_towers(50), [known], seed=4)["image"].weight)
