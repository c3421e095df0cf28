"""The fusion of channels, and how their weights are found."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from adapt.memory.fusion import START, Channels, Fusion, fuse, standardised
from adapt.memory.tuning import FEWEST_EVENTS, candidate_table, tune

ITEMS = 150
CANDIDATES = np.arange(ITEMS) != 3


def made_up(events, seed=0, *, signal="cooccurrence", strength=2.0):
    """Noise everywhere, and one channel that knows the item that was chosen in half of the cases."""
    random = np.random.default_rng(seed)
    targets = random.integers(4, ITEMS, size=events)
    content = random.normal(size=(events, ITEMS)).astype(np.float32)
    content[:, 3] = -np.inf
    rows = {
        name: sparse.random_array((events, ITEMS), density=0.05, rng=random, dtype=np.float32).toarray() * 0.1
        for name in ("cooccurrence", "successors")
    }
    known = np.flatnonzero(random.random(events) < 0.5)
    rows[signal][known, targets[known]] += strength
    evidence = {name: sparse.csr_array(values) for name, values in rows.items()}
    popularity = random.normal(size=ITEMS).astype(np.float32)
    return Channels(content, evidence, popularity), targets


def table(events, **options):
    channels, targets = made_up(events, **options)
    seen = [np.zeros(0, np.int64)] * events
    return candidate_table(channels, targets, seen, CANDIDATES, Fusion())


def test_fusion_is_its_formula():
    channels, _ = made_up(3)
    fusion = Fusion(weights={"successors": 2.0, "popularity": 0.5}, content=0.25)
    found = fuse(channels, fusion, CANDIDATES)
    content = channels.content[:, CANDIDATES]
    z = (content - content.mean(axis=1, keepdims=True)) / content.std(axis=1, keepdims=True)
    expected = 0.25 * z + 2 * channels.evidence["successors"].toarray()[:, CANDIDATES]
    expected += 0.5 * channels.popularity[CANDIDATES]
    np.testing.assert_allclose(found[:, CANDIDATES], expected, rtol=1e-4, atol=1e-5)
    assert (found[:, 3] == -np.inf).all()


def test_further_channels_are_standardised_like_content():
    channels, _ = made_up(2)
    tower = np.random.default_rng(1).normal(size=channels.content.shape).astype(np.float32) * 40
    both = Channels(channels.content, {}, channels.popularity, {"tower": tower})
    found = fuse(both, Fusion(weights={"tower": 3.0}, content=0.0), CANDIDATES)
    np.testing.assert_allclose(found[:, CANDIDATES], 3 * standardised(tower, CANDIDATES)[:, CANDIDATES], rtol=1e-5)


def test_a_channel_that_knows_gets_weight_and_noise_gets_none():
    tuned = tune([table(300, seed=1, signal="successors"), table(300, seed=2, signal="successors")], ["successors"])
    assert tuned.events == 600
    assert tuned.fusion.weights["successors"] > 0
    assert tuned.fused > tuned.content + 3 * tuned.error
    gains = {gain.channel: gain for gain in tuned.gains}
    assert gains["successors"].gain > 5 * gains["successors"].error
    assert abs(tuned.fusion.weights.get("popularity", 0.0)) <= START["popularity"]


def test_few_events_leave_the_start_as_it_is():
    tuned = tune([table(FEWEST_EVENTS - 1, signal="successors")], ["successors"])
    assert tuned.fusion == Fusion()
    assert tuned.events == FEWEST_EVENTS - 1
    assert tune([], ["successors"]).fusion == Fusion()


def test_evidence_that_misleads_is_given_up():
    """Where what is chosen together is never chosen next, it no longer counts for an item."""
    random = np.random.default_rng(0)
    events = 800
    targets = random.integers(4, ITEMS, size=events)
    content = random.normal(size=(events, ITEMS)).astype(np.float32)
    content[np.arange(events), targets] += 3
    wrong = np.zeros((events, ITEMS), np.float32)
    wrong[np.arange(events)[:, None], (targets[:, None] + 1 + np.arange(20)) % ITEMS] = 0.5
    channels = Channels(content, {"cooccurrence": sparse.csr_array(wrong)}, np.zeros(ITEMS, np.float32))
    seen = [np.zeros(0, np.int64)] * events
    tuned = tune([candidate_table(channels, targets, seen, CANDIDATES, Fusion())], [])
    assert tuned.fusion.weights.get("cooccurrence", 0.0) <= 0
    assert tuned.fused >= tuned.content


def test_a_table_keeps_the_rank_of_what_was_chosen():
    """With fewer items than are kept, the rank among the kept is the rank among all, seen items aside."""
    channels, targets = made_up(40)
    small = Channels(
        channels.content[:, :60],
        {name: votes[:, :60] for name, votes in channels.evidence.items()},
        channels.popularity[:60],
    )
    targets = targets % 56 + 4
    seen = [np.array([(target + 1) % 60, 5]) for target in targets]
    found = candidate_table(small, targets, seen, CANDIDATES[:60], Fusion())
    fused = fuse(small, Fusion(), CANDIDATES[:60])
    for event, target in enumerate(targets):
        own = fused[event].copy()
        own[seen[event]] = -np.inf
        missed = target in seen[event]
        assert found.misses[event] == missed
        if not missed:
            values = found.values["content"][event] + START["cooccurrence"] * found.values["cooccurrence"][event]
            values = np.where(
                found.valid[event], values + START["popularity"] * found.values["popularity"][event], -9e9
            )
            assert (values > values[0]).sum() == (own > own[target]).sum()
