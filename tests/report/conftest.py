"""Results of a run that never ran, in every shape that the report has to show."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adapt.data.catalog import Catalog, Dataset, Interactions
from adapt.data.check import DataReport, Example, HistoryLengths, Problem
from adapt.index import IndexInfo
from adapt.workflows.recommend import CheckpointSummary, RecommendationTable, RecommendResult
from adapt.workflows.self_check import SelfCheck

Make = Callable[..., RecommendResult]
EXACT = IndexInfo(
    kind="exact", count=12, dim=8, space="ip", ef=None, m=None, ef_construction=None,
    recall_target=None, recall_measured=None, recall_queries=None, recall_k=None, changes=0, threads=1,
)  # fmt: skip
CHECK = SelfCheck(
    users=20, k=5, recall=0.6, ndcg=0.31, recall_low=0.4, recall_high=0.8, popularity_recall=0.2, chance_recall=0.1
)


def _report(items: int, users: int, problem: str) -> DataReport:
    example = Example("interactions.csv", 9, "item_id", problem)
    return DataReport(
        path="shop", layout="directory", files=("items.csv",), items=items, users=users, interactions=users * 3,
        with_text=items, with_image=3, with_both=3, with_neither=0, time_span=(1.7e9, 1.71e9), time_unit="seconds",
        time_order="timestamps", history_lengths=HistoryLengths(1, 2.0, 2.0, 3.0, 3), text_template=("title",),
        text_example="first text",
        problems=(Problem("unknown-item", "warning", 7, (example,), problem, "drop"),),
    )  # fmt: skip


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A function that makes a result; ``text`` is put wherever text of the data set can appear, the rest replaces."""

    def build(*, items: int = 12, users: int = 6, text: str = "thing", **replaced: Any) -> RecommendResult:
        rng = np.random.default_rng(0)
        pictures = []
        for number in range(min(items, 3)):
            pictures.append(tmp_path / f"{number}.png")
            Image.fromarray(rng.integers(0, 256, (200, 150, 3), dtype=np.uint8)).save(pictures[-1])
        ids = tuple(f"{text}-{number}" for number in range(items))
        catalog = Catalog(
            ids=ids,
            texts=ids,
            images=tuple((pictures[row],) if row < len(pictures) else () for row in range(items)),
            titles=tuple(f"title of {name}" for name in ids),
            columns={"category": tuple(text for _ in ids)},
            text_template=("title",),
        )
        histories = tuple(np.arange(1 + user % 3, dtype=np.int32) for user in range(users))
        lengths = [len(history) for history in histories]
        interactions = Interactions(
            user_ids=tuple(f"{text}-user-{user}" for user in range(users)),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            items=np.concatenate(histories) if histories else np.zeros(0, dtype=np.int32),
        )
        rows = np.stack([rng.permutation(items)[:5] for _ in range(users)]).astype(np.int64)
        rows[0, 3:] = -1
        result = RecommendResult(
            command="zero-shot",
            method="zero-shot",
            how=(),
            mode="users",
            dataset=Dataset(text, tmp_path, catalog, interactions, _report(items, users, text)),
            checkpoint=CheckpointSummary("adapt-mini", "adapt-mini", "ab" * 32, text),
            table=RecommendationTable(
                interactions.user_ids,
                histories,
                rows,
                np.linspace(1, 0, rows.size, dtype=np.float32).reshape(rows.shape),
            ),
            candidates=items - 1,
            left_out=(ids[-1],),
            with_text=items - 1,
            with_image=3,
            with_both=3,
            encode_failures=((ids[0], text),),
            users_without_history=(f"{text}-lost",),
            keep_seen=False,
            index=EXACT,
            self_check=CHECK,
            timings={"read": 0.01, "encode": 65.0},
            notes=(text,),
            run={"arguments": {"dataset": text}, "seed": 0},
        )
        return dataclasses.replace(result, **replaced)

    return build
