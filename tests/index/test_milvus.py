"""The index in memory whose search is in Milvus keeps every promise that exact search and HNSW keep."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapt.index import Index
from adapt.index.remote_index import RemoteIndex

from .contract import IndexContract
from .milvus_cases import lite, needs_lite, server, settings


class MilvusContract(IndexContract):
    @pytest.fixture(autouse=True)
    def _made(self) -> Iterator[None]:
        self.made: list[RemoteIndex] = []
        yield
        for index in self.made:
            index.close()

    def index_type(self) -> str:
        raise NotImplementedError

    def make(self, ids, embeddings) -> Index:
        index = RemoteIndex(ids, embeddings, settings(self.uri, index=self.index_type()), "model-1")
        self.made.append(index)
        return index


@needs_lite
class TestMilvusLite(MilvusContract):
    @pytest.fixture(autouse=True, scope="class")
    def _file(self, request, tmp_path_factory) -> Iterator[None]:
        file = lite(tmp_path_factory.mktemp("lite"))
        request.cls.uri = next(file)
        yield
        next(file, None)

    def index_type(self) -> str:
        return "FLAT"


@pytest.mark.milvus
class TestMilvusServer(MilvusContract):
    @pytest.fixture(autouse=True, scope="class")
    def _server(self, request) -> None:
        request.cls.uri = server()

    def index_type(self) -> str:
        return "HNSW"
