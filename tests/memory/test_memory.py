"""What is remembered of other users: against the formulas as loops, and what adding an event does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.errors import UsageError
from adapt.evaluate.histories import from_lists
from adapt.memory.cooccurrence import WINDOW, Cooccurrence
from adapt.memory.memory import EVIDENCE, Memory, prefixes_of
from adapt.memory.states import TEMPERATURE, StateMemory

ITEMS = 7
histories = st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=14), min_size=1, max_size=5)


def votes_by_hand(train, query, decay, power, smoothing):
    following = np.zeros((ITEMS, ITEMS))
    for history in train:
        for first, left in enumerate(history):
            for second in range(first + 1, min(len(history), first + WINDOW + 1)):
                if left != history[second]:
                    following[left, history[second]] += 1 / (second - first)
    totals = following.sum(axis=1) + following.sum(axis=0)
    out = np.zeros((2, ITEMS))
    for age, item in enumerate(reversed(query)):
        for other in range(ITEMS):
            scale = ((totals[item] + smoothing) * (totals[other] + smoothing)) ** power
            if totals[item] and totals[other]:
                out[0, other] += np.exp(-decay * age) * following[item, other] / scale
                out[1, other] += np.exp(-decay * age) * following[other, item] / scale
    return out


@given(histories, histories, st.sampled_from([0.0, 0.4]), st.sampled_from([(0.5, 10.0), (0.25, 0.0)]))
@settings(deadline=None, max_examples=50)
def test_votes_are_their_formula(train, queries, decay, scale):
    power, smoothing = scale
    found = Cooccurrence(from_lists(train), ITEMS).votes(
        from_lists(queries), decay=decay, power=power, smoothing=smoothing
    )
    for user, query in enumerate(queries):
        expected = votes_by_hand(train, query, decay, power, smoothing)
        np.testing.assert_allclose(found.following.toarray()[user], expected[0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.both.toarray()[user], expected.sum(axis=0), rtol=1e-4, atol=1e-6)


@given(histories)
@settings(deadline=None, max_examples=50)
def test_adding_events_one_by_one_is_counting_them_at_once(train):
    grown = Cooccurrence(from_lists([[] for _ in train]), ITEMS)
    for history in train:
        for place, item in enumerate(history):
            grown.add(history[:place], item)
    counted = Cooccurrence(from_lists(train), ITEMS)
    queries = from_lists([[item] for item in range(ITEMS)])
    np.testing.assert_array_equal(grown.events, counted.events)
    first = grown.votes(queries, decay=0.0, power=0.5, smoothing=1.0)
    second = counted.votes(queries, decay=0.0, power=0.5, smoothing=1.0)
    np.testing.assert_allclose(first.following.toarray(), second.following.toarray(), rtol=1e-5)
    np.testing.assert_allclose(first.preceding.toarray(), second.preceding.toarray(), rtol=1e-5)


def test_many_added_events_are_merged_and_nothing_is_lost(monkeypatch):
    monkeypatch.setattr("adapt.memory.cooccurrence._MERGE_AT", 5)
    random = np.random.default_rng(0)
    train = [random.integers(ITEMS, size=9).tolist() for _ in range(6)]
    grown = Cooccurrence(from_lists(train[:2]), ITEMS)
    for history in train[2:]:
        for place, item in enumerate(history):
            grown.add(history[:place], item)
    queries = from_lists([[item] for item in range(ITEMS)])
    expected = Cooccurrence(from_lists(train), ITEMS).votes(queries, decay=0.0, power=0.0, smoothing=0.0)
    found = grown.votes(queries, decay=0.0, power=0.0, smoothing=0.0)
    np.testing.assert_allclose(found.both.toarray(), expected.both.toarray(), rtol=1e-5)


def test_an_item_that_is_not_in_the_catalog_is_refused():
    with pytest.raises(UsageError, match="from 0 to 6, found 7"):
        Cooccurrence(from_lists([[0]]), ITEMS).add([0], 7)


def test_states_vote_with_the_softmax_of_their_cosines():
    keys = np.eye(3, dtype=np.float32)
    memory = StateMemory(keys, np.array([4, 2, 4]), ITEMS)
    query = np.array([[0.6, 0.8, 0.0]], np.float32)
    weights = np.exp(np.array([0.6, 0.8, 0.0]) / TEMPERATURE)
    weights /= weights.sum()
    votes = memory.votes(query).toarray()[0]
    np.testing.assert_allclose(votes[[2, 4]], [weights[1], weights[0] + weights[2]], rtol=1e-4)
    assert votes.sum() == pytest.approx(1)
    memory.add(query[0], 6)
    assert len(memory) == 4
    assert memory.votes(query).toarray()[0].argmax() == 6


def test_states_in_a_graph_give_the_same_votes_as_exact_ones():
    random = np.random.default_rng(1)
    keys = random.normal(size=(600, 16)).astype(np.float32)
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    values = random.integers(ITEMS, size=600)
    exact, graph = (StateMemory(keys, values, ITEMS, kind=kind) for kind in ("exact", "hnsw"))
    np.testing.assert_allclose(graph.votes(keys[:20]).toarray(), exact.votes(keys[:20]).toarray(), atol=0.02)
    assert graph.index.kind == "hnsw"


def states_of(before):
    """The share of each item in a history, as a unit vector; nothing for an empty one."""
    counts = np.stack([np.bincount(history, minlength=ITEMS) for history in before]).astype(np.float32)
    return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)


def test_prefixes_are_the_states_before_each_event_but_the_first():
    known = from_lists([[0, 1, 2], [], [3, 3]])
    prefixes = prefixes_of(known, states_of)
    np.testing.assert_array_equal(prefixes.users, [0, 0, 2])
    np.testing.assert_array_equal(prefixes.places, [1, 2, 1])
    np.testing.assert_array_equal(prefixes.values, [1, 2, 3])
    np.testing.assert_allclose(prefixes.keys, states_of([[0], [0, 1], [3]]))
    shorter = prefixes.within(from_lists([[0, 1], [], [3, 3]]))
    np.testing.assert_array_equal(shorter.values, [1, 3])
    assert len(prefixes.memory(ITEMS, np.array([True, False, False]))) == 1
    assert prefixes.memory(ITEMS, np.array([True, True, True])) is None


def test_evidence_holds_the_channels_asked_for_and_its_roots():
    known = from_lists([[0, 1], [2, 1, 0]])
    memory = Memory(Cooccurrence(known, ITEMS), prefixes_of(known, states_of).memory(ITEMS))
    found = memory.evidence(known, states_of([[0, 1], [2, 1, 0]]), EVIDENCE)
    assert set(found) == set(EVIDENCE)
    plain = memory.cooccurrence.votes(known, decay=0.4, power=0.5, smoothing=10.0)
    np.testing.assert_allclose(found["successors"].toarray() ** 2, plain.following.toarray(), atol=1e-6)
    assert set(memory.evidence(known, None, ["item_knn", "states"])) == {"item_knn"}


def test_popularity_says_nothing_of_an_item_without_events():
    known = from_lists([[0, 0, 0, 1], [0]])
    candidates = np.array([True] * 6 + [False])
    popularity = Memory(Cooccurrence(known, ITEMS)).popularity(candidates)
    assert popularity[0] > popularity[1] > 0
    assert (popularity[2:] == 0).all()
    assert (Memory(Cooccurrence(from_lists([[]]), ITEMS)).popularity(candidates) == 0).all()


def test_the_oldest_states_are_forgotten_and_a_catalog_may_grow():
    keys = np.eye(4, dtype=np.float32)
    memory = StateMemory(keys[:2], np.array([0, 1]), ITEMS, most=4)
    for step in range(10):
        memory.add(keys[2 + step % 2], 2 + step % 2)
        assert len(memory) <= 6
    votes = memory.votes(keys).toarray()
    assert not votes[0, 0]
    assert not votes[1, 1]
    assert votes[2].argmax() == 2
    assert votes[3].argmax() == 3
    memory.grow(ITEMS + 2)
    memory.add(keys[0], ITEMS + 1)
    assert memory.votes(keys[:1]).toarray()[0].argmax() == ITEMS + 1


@given(histories, st.lists(st.integers(0, ITEMS + 2), min_size=1, max_size=14))
@settings(deadline=None, max_examples=30)
def test_a_grown_memory_is_one_that_was_made_for_as_many_items(train, later):
    grown = Cooccurrence(from_lists(train), ITEMS)
    grown.grow(ITEMS + 3)
    made = Cooccurrence(from_lists(train), ITEMS + 3)
    for place, item in enumerate(later):
        grown.add(later[:place], item)
        made.add(later[:place], item)
    asked = {"decay": 0.4, "power": 0.5, "smoothing": 10.0}
    ours, theirs = (counts.votes(from_lists([later]), **asked).both.toarray() for counts in (grown, made))
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(grown.events, made.events)
