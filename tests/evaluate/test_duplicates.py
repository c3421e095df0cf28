"""Items that two catalogs share and events that repeat, against a comparison of all pairs."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt import load_dataset
from adapt.data.catalog import Catalog, Interactions
from adapt.errors import UsageError
from adapt.evaluate.duplicates import CatalogOverlap, Repeats, catalog_overlap, near_duplicates, repeats
from adapt.evaluate.histories import from_lists
from adapt.evaluate.tasks import leave_one_out_task

word_sets = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=7).map(" ".join), max_size=12)


def catalog(rows):
    ids, texts, titles = zip(*rows, strict=True)
    return Catalog(ids, texts, ((),) * len(rows), titles, {}, ())


def jaccard(one, other):
    a, b = set(one.split()), set(other.split())
    return len(a & b) / len(a | b) if a and b else 0.0


@given(word_sets, word_sets, st.sampled_from([0.3, 0.5, 0.8, 1.0]))
@settings(deadline=None, max_examples=150)
def test_near_duplicates_are_those_of_a_comparison_of_all_pairs(texts, others, threshold):
    found = near_duplicates(texts, others, threshold)
    for text, row in zip(texts, found, strict=True):
        similarity = [jaccard(text, other) for other in others]
        best = max(similarity, default=0.0)
        expected = similarity.index(best) if best >= threshold - 1e-9 and best > 0 else -1
        assert row == expected


def test_an_item_is_found_again_by_its_id_its_text_its_title_or_nearly_its_words():
    source = catalog(
        [
            ("1", "Red wool hat, large", "Red wool hat"),
            ("2", "a film about toys that come alive at night", "Toy Story (1995)"),
            ("B3", "Stainless steel water bottle 500 ml with a lid", "Bottle"),
        ]
    )
    target = catalog(
        [
            ("1", "something else", "Entirely different"),  # the number coincides
            ("x", "RED WOOL HAT - large!", "A hat"),  # the same text
            ("y", "other words", "toy story 1995"),  # the same title
            ("z", "water bottle, stainless steel, 500 ml, with lid", "Vessel"),  # nearly the same words
            ("B3", "", "B3"),  # the id; it has no text
            ("w", "unlike anything", "Unlike"),
        ]
    )
    found = catalog_overlap(target, source)
    assert found == CatalogOverlap(
        items=6,
        same_ids=2,
        same_texts=2,
        near_texts=1,
        examples=(("A hat", "Red wool hat"), ("toy story 1995", "Toy Story (1995)"), ("Vessel", "Bottle")),
    )
    assert found.share == 0.5


def test_items_without_text_and_unrelated_catalogs_share_nothing():
    bare = catalog([("a", "", "a"), ("b", "", "b")])
    assert catalog_overlap(bare, bare) == CatalogOverlap(2, 2, 0, 0, ())
    assert catalog_overlap(catalog([("a", "red hat", "Hat")]), catalog([("b", "blue pen", "Pen")])).share == 0.0


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.1, float("nan")])
def test_a_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(UsageError, match="threshold above 0"):
        near_duplicates(["a"], ["a"], threshold)


def test_twenty_thousand_items_are_compared_in_seconds():
    rng = np.random.default_rng(0)
    words = np.array([f"w{n}" for n in range(3_000)])
    popular = np.minimum(rng.zipf(1.3, size=(40_000, 12)) - 1, 2_999)
    texts = [" ".join(words[row]) for row in popular]
    changed = [f"{text} extra" for text in texts[:100]]
    started = time.process_time()
    found = near_duplicates([*changed, *texts[100:20_000]], [*texts[20_000:39_900], *texts[:100]])
    assert time.process_time() - started < 30
    close = [n for n in range(100) if len(set(texts[n].split())) >= 4]
    assert (found[close] >= 0).all()


def test_repeats_are_counted_within_users():
    lists = from_lists([[1, 1, 2], [2, 3, 4, 2], [5, 6, 7], [5, 6, 7], [5, 6], [5, 6]])
    events = Interactions(tuple("abcdef"), lists.offsets, lists.items)
    task = leave_one_out_task(events, np.ones(8, bool))
    assert repeats(task, events) == Repeats(consecutive=1, targets_seen=1, same_histories=2)


@pytest.mark.real_data
def test_films_of_movielens_are_found_again(real_data):
    target, source = (load_dataset(real_data(name)).catalog for name in ("ml100k", "movielens_small"))
    found = catalog_overlap(target, source)
    assert 1_150 < found.same_texts < 1_300
    assert found.share > 0.7
