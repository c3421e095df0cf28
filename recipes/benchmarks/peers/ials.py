"""iALS of the library `implicit`: `python ials.py QUESTION.npz FOLDER SETTINGS_JSON` writes FOLDER/final.npz."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from exchange import Answer, Histories, read_question, write_answer
from implicit.als import AlternatingLeastSquares
from scipy import sparse

SEED = 0


def matrix(histories: Histories, catalog: int) -> sparse.csr_matrix:
    """1 where a history holds an item."""
    found = sparse.csr_matrix(
        (np.ones(len(histories.items), np.float32), histories.items, histories.offsets), (len(histories), catalog)
    )
    found.sum_duplicates()
    found.data[:] = 1
    return found


def main() -> None:
    question, folder, settings = read_question(Path(sys.argv[1])), Path(sys.argv[2]), json.loads(sys.argv[3])
    train = matrix(question.train, question.catalog)
    model = AlternatingLeastSquares(**settings, random_state=SEED, num_threads=2, use_gpu=False)
    model.fit(train, show_progress=False)
    users = []
    for asked in question.asked:
        numbers = np.arange(len(asked))
        users.append(np.asarray(model.recalculate_user(numbers, matrix(asked, question.catalog)), np.float32))
    known = np.asarray(train.sum(axis=0)).reshape(-1) > 0
    write_answer(folder / "final.npz", Answer(tuple(users), np.asarray(model.item_factors), known))


if __name__ == "__main__":
    main()
