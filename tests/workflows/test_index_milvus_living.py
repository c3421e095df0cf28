"""An index that Milvus searches follows its catalog just as one that this machine searches: the same tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapt.workflows.living_index import LivingIndex
from tests.index.milvus_cases import lite, needs_lite, settings

from .test_living_index import (  # noqa: F401 - pytest collects them here once more
    _template,
    model,
    test_a_changed_item_is_what_the_file_says,
    test_a_diverse_list_is_less_alike_and_starts_with_the_best,
    test_a_history_may_hold_items_that_are_gone_but_not_only_such,
    test_a_new_item_is_found_at_once_and_only_it_is_encoded,
    test_an_item_that_is_added_lies_where_a_query_of_the_same_text_does,
    test_an_open_index_goes_on_with_its_generation_until_it_is_reloaded,
    test_another_model_is_refused_with_both_fingerprints,
    test_everything_may_go_and_come_again,
    test_filters_are_exact_at_any_selectivity_and_k_returns_what_there_is,
    test_it_recommends_what_the_zero_shot_recommender_does,
    test_readers_and_writers_at_once_lose_nothing,
    test_removed_items_never_come_back,
    test_removing_is_all_or_nothing,
    test_the_normalisation_is_frozen_until_it_is_refitted,
)

pytestmark = needs_lite


@pytest.fixture(scope="module", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The tests count what is encoded; their namesakes have encoded the same texts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADAPT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from lite(tmp_path_factory.mktemp("lite"))


@pytest.fixture
def shop(_template: Path, tmp_path: Path, file: str) -> Path:  # noqa: F811 - in place of the local one
    """As its namesake, searched by Milvus Lite."""
    shutil.copytree(_template, tmp_path / "work")
    LivingIndex.open(tmp_path / "work" / "index").move(settings(file))
    return tmp_path / "work"
