"""What every index promises: subclass :class:`IndexContract` and say how to make one."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from adapt.errors import CheckpointError, DataError, OutputError, UsageError
from adapt.index import Index, load_index, save_index

DIM = 8


def vectors(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)


def names(count: int) -> list[str]:
    return [f"{number:03d}" for number in range(count)]


def truth(embeddings, query, k, hidden=()):
    """Rows by (-score, row) in plain Python, with double precision."""
    scores = np.asarray(embeddings, np.float64) @ np.asarray(query, np.float64)
    rows = [row for row in range(len(scores)) if row not in set(hidden)]
    return sorted(rows, key=lambda row: (-scores[row], row))[:k]


class IndexContract:
    """Behaviour that holds for every kind; on a few hundred items HNSW with a wide search is exact too."""

    def make(self, ids, embeddings) -> Index:
        raise NotImplementedError

    @pytest.fixture
    def items(self):
        return vectors(300)

    @pytest.fixture
    def index(self, items):
        return self.make(names(300), items)

    def test_finds_the_largest_inner_products_best_first(self, index, items):
        queries = vectors(20, seed=1)
        found = index.search(queries, 10)
        assert found.rows.dtype == np.int64
        assert found.scores.dtype == np.float32
        for query, rows, scores in zip(queries, found.rows, found.scores, strict=True):
            assert rows.tolist() == truth(items, query, 10)
            np.testing.assert_allclose(scores, items[rows] @ query, rtol=1e-4, atol=1e-5)

    def test_excluded_rows_are_replaced_by_the_next_best(self, index, items):
        queries = vectors(6, seed=2)
        seen = [
            np.array(truth(items, query, length))
            for query, length in zip(queries, [0, 1, 5, 40, 299, 300], strict=True)
        ]
        found = index.search(queries, 10, exclude=[np.repeat(rows, 2).astype(np.int32) for rows in seen])
        for query, rows, hidden in zip(queries, found.rows, seen, strict=True):
            expected = truth(items, query, 10, hidden)
            assert rows.tolist() == expected + [-1] * (10 - len(expected))

    @pytest.mark.parametrize("allowed", [0, 1, 7, 40, 160, 299, 300])
    def test_only_allowed_rows_are_found_and_a_short_list_is_padded(self, index, items, allowed):
        allow = np.zeros(300, bool)
        allow[np.random.default_rng(allowed).permutation(300)[:allowed]] = True
        queries = vectors(4, seed=3)
        seen = [np.flatnonzero(allow)[:1]] * 4
        found = index.search(queries, 10, exclude=seen, allow=allow)
        for query, rows, scores in zip(queries, found.rows, found.scores, strict=True):
            expected = truth(items, query, 10, [*np.flatnonzero(~allow), *seen[0]])
            assert rows.tolist() == expected + [-1] * (10 - len(expected))
            assert np.isneginf(scores[len(expected) :]).all()
            assert np.isfinite(scores[: len(expected)]).all()

    def test_k_above_the_number_of_items_returns_them_all(self, index, items):
        found = index.search(vectors(2, seed=4), 350)
        assert found.rows.shape == (2, 350)
        for rows in found.rows:
            assert sorted(rows[:300]) == list(range(300))
            assert (rows[300:] == -1).all()

    def test_equal_scores_come_in_the_order_of_rows(self):
        one, other = vectors(2, seed=5)
        embeddings = np.stack([one, other] * 20)
        index = self.make(names(40), embeddings)
        winner = 0 if one @ one > other @ one else 1
        found = index.search(one[None], 40)
        assert found.rows[0].tolist() == [*range(winner, 40, 2), *range(1 - winner, 40, 2)]

    def test_answers_do_not_change_when_asked_again_or_one_by_one(self, index):
        queries = vectors(30, seed=6)
        together = index.search(queries, 5)
        np.testing.assert_array_equal(index.search(queries, 5).rows, together.rows)
        for place, query in enumerate(queries):
            np.testing.assert_array_equal(index.search(query[None], 5).rows[0], together.rows[place])

    def test_a_new_item_is_found_the_moment_it_is_added(self, index):
        query = vectors(1, seed=7)[0]
        index.add(["new", "newer"], np.stack([query * 100, query * 50]))
        found = index.search(query[None], 2)
        assert [index.ids[row] for row in found.rows[0]] == ["new", "newer"]
        assert len(index) == 302
        assert "new" in index
        assert index.row("newer") == 301

    def test_adding_an_id_again_replaces_its_embedding_in_place(self, index):
        query = vectors(1, seed=8)[0]
        index.add(["007"], query[None] * 100)
        assert len(index) == 300
        assert index.row("007") == 7
        assert index.search(query[None], 1).rows.tolist() == [[7]]
        index.add(["007"], query[None] * -100)
        assert 7 not in index.search(query[None], 299).rows

    def test_a_removed_item_is_never_found_again_and_the_last_takes_its_row(self, index, items):
        query = items[3]
        index.remove(["003", "299"])
        assert "003" not in index
        assert len(index) == 298
        assert index.ids[3] == "298"
        assert index.row("298") == 3
        found = {index.ids[row] for row in index.search(query[None], 298).rows[0]}
        assert found == set(names(300)) - {"003", "299"}
        np.testing.assert_array_equal(index.embeddings[3], items[298])

    def test_everything_can_be_removed_and_added_again(self, index, items):
        index.remove(index.ids)
        empty = index.search(items[:2], 3)
        assert (empty.rows == -1).all()
        assert len(index) == 0
        index.add(["back"], items[:1])
        assert index.search(items[:1], 3).rows.tolist() == [[0, -1, -1]]

    def test_many_items_are_added_to_few(self, items):
        index = self.make(names(2), items[:2])
        index.add(names(300), items)
        for query, rows in zip(vectors(5, seed=9), index.search(vectors(5, seed=9), 10).rows, strict=True):
            assert rows.tolist() == truth(items, query, 10)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
    def test_numbers_that_spoil_every_search_are_refused_before_anything_changes(self, index, items, bad):
        wrong = vectors(3, seed=10)
        wrong[1, 2] = bad
        with pytest.raises(DataError, match="row 1"):
            index.add(["a", "b", "c"], wrong)
        with pytest.raises(DataError, match="queries"):
            index.search(wrong, 3)
        with pytest.raises(DataError, match="row 1"):
            self.make(["a", "b", "c"], wrong)
        assert index.ids == tuple(names(300))
        np.testing.assert_array_equal(index.embeddings, items)

    @pytest.mark.parametrize("shape", [(2, DIM - 1), (2, DIM + 1), (2, 0), (DIM,), (2, DIM, 1), ()], ids=str)
    def test_embeddings_and_queries_of_another_shape_are_refused(self, index, shape):
        with pytest.raises(UsageError, match="expected"):
            index.add(["a", "b"], np.zeros(shape, np.float32))
        with pytest.raises(UsageError, match="queries"):
            index.search(np.zeros(shape, np.float32), 3)
        assert len(index) == 300

    @pytest.mark.parametrize("ids", [["a", "a"], ["a", ""], ["a"], ["a", "b", "c"], ["a", 7], "ab"])
    def test_ids_that_are_not_distinct_strings_are_refused(self, index, ids):
        with pytest.raises(UsageError, match="id"):
            index.add(ids, vectors(2))
        assert len(index) == 300

    def test_removing_what_is_not_there_changes_nothing_and_names_what_is_close(self, index):
        with pytest.raises(DataError, match="'0077'") as caught:
            index.remove(["001", "0077"])
        assert "007" in caught.value.hint
        with pytest.raises(UsageError, match="distinct"):
            index.remove(["001", "001"])
        assert index.ids == tuple(names(300))

    @pytest.mark.parametrize(
        "options",
        [
            {"k": 0},
            {"k": 1, "exclude": [np.array([0])]},
            {"k": 1, "exclude": [np.array([300]), np.array([0])]},
            {"k": 1, "exclude": [np.array([-1]), np.array([0])]},
            {"k": 1, "exclude": [np.array([0.5]), np.array([0])]},
            {"k": 1, "allow": np.ones(299, bool)},
            {"k": 1, "allow": np.ones(300, int)},
        ],
    )
    def test_search_options_that_do_not_fit_are_refused(self, index, options):
        with pytest.raises(UsageError, match="expected"):
            index.search(vectors(2), **options)

    def test_no_queries_give_no_rows(self, index):
        assert index.search(np.zeros((0, DIM), np.float32), 4).rows.shape == (0, 4)

    def test_read_only_double_and_strided_input_is_read_as_it_is(self, index, items):
        wide = np.repeat(vectors(5, seed=11).astype(np.float64), 2, axis=1)
        queries = wide[:, ::2]
        queries.flags.writeable = False
        expected = index.search(queries.astype(np.float32), 5).rows
        np.testing.assert_array_equal(index.search(queries, 5).rows, expected)

    def test_the_index_keeps_its_own_copy(self, items):
        given = items.copy()
        index = self.make(names(300), given)
        given[:] = 0
        np.testing.assert_array_equal(index.embeddings, items)
        with pytest.raises(ValueError, match="read-only"):
            index.embeddings[0] = 1

    def test_a_saved_index_answers_as_before(self, index, tmp_path):
        index.remove(["005", "250"])
        index.add(["again"], vectors(1, seed=12))
        save_index(index, tmp_path / "index", "model-1")
        again = load_index(tmp_path / "index", "model-1")
        queries = vectors(10, seed=13)
        before, after = index.search(queries, 7), again.search(queries, 7)
        assert again.ids == index.ids
        assert again.info() == index.info()
        np.testing.assert_array_equal(after.rows, before.rows)
        np.testing.assert_array_equal(after.scores, before.scores)
        again.add(["one more"], vectors(1, seed=14) * 100)
        assert again.search(vectors(1, seed=14), 1).rows.tolist() == [[len(index)]]

    def test_a_saved_index_is_replaced_and_another_folder_is_not(self, index, tmp_path):
        save_index(index, tmp_path / "index", "model-1")
        index.remove(["000"])
        save_index(index, tmp_path / "index", "model-2")
        assert len(load_index(tmp_path / "index", "model-2")) == 299
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "letter.txt").write_text("dear")
        with pytest.raises(OutputError, match="files in it"):
            save_index(index, tmp_path / "mine", "model-1")
        assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]

    def test_an_index_of_another_checkpoint_is_refused(self, index, tmp_path):
        save_index(index, tmp_path / "index", "model-1")
        with pytest.raises(CheckpointError, match="model-1"):
            load_index(tmp_path / "index", "model-2")

    def test_searching_while_the_index_changes_is_safe(self, index):
        stop, failures = threading.Event(), []

        def search():
            queries = vectors(8, seed=15)
            while not stop.is_set():
                try:
                    rows = index.search(queries, 5).rows
                except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it
                    failures.append(error)
                    return
                if (rows < 0).any():
                    failures.append(AssertionError("fewer results than items"))
                    return

        readers = [threading.Thread(target=search) for _ in range(2)]
        for reader in readers:
            reader.start()
        for turn in range(30):
            index.add([f"new {turn} {number}" for number in range(20)], vectors(20, seed=turn))
            index.remove([f"new {turn} {number}" for number in range(10)])
        stop.set()
        for reader in readers:
            reader.join(timeout=30)
        assert not failures
        assert len(index) == 600
