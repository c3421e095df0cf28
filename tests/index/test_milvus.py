"""The index in memory whose search is in Milvus keeps every promise that exact search and HNSW keep."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from adapt.index import Index, build_index
from adapt.index.remote_index import RemoteIndex

from .contract import IndexContract, names, truth, vectors
from .milvus_cases import lite, needs_lite, server, settings


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from lite(tmp_path_factory.mktemp("lite"))


class MilvusContract(IndexContract):
    index_type: str

    @pytest.fixture
    def uri(self) -> str:
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _made(self, uri: str) -> Iterator[None]:
        self.address = uri
        self.made: list[Index] = []
        yield
        for index in self.made:
            index.close()

    def make(self, ids, embeddings) -> Index:
        self.made.append(RemoteIndex(ids, embeddings, settings(self.address, index=self.index_type), "model-1"))
        return self.made[-1]


@needs_lite
class TestMilvusLite(MilvusContract):
    index_type = "FLAT"

    @pytest.fixture
    def uri(self, file: str) -> str:
        return file


@needs_lite
def test_a_graph_in_milvus_is_calibrated_and_its_recall_is_measured(file: str) -> None:
    items = vectors(300)
    index = build_index(names(300), items, kind=settings(file, index="HNSW"), recall_target=0.9)
    info = index.info()
    assert (info.kind, info.recall_target, info.recall_queries) == ("milvus", 0.9, 300)
    assert info.ef is not None
    assert info.recall_measured is not None
    assert info.recall_measured >= 0.9
    found = index.search(items[:20], 10).rows
    shared = [len({*rows} & {*truth(items, query, 10)}) for rows, query in zip(found.tolist(), items[:20], strict=True)]
    assert np.mean(shared) > 8
    index.close()


@pytest.mark.milvus
class TestMilvusServer(MilvusContract):
    index_type = "HNSW"

    @pytest.fixture
    def uri(self) -> str:
        return server()
