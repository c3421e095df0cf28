"""A real service over a small index, asked in this process or started as one of its own."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from starlette.testclient import TestClient

from adapt import Checkpoint
from adapt.serve.app import create_app
from adapt.workflows.index_build import BuildOptions, build
from adapt.workflows.live_service import LiveService
from adapt.workflows.live_types import LiveOptions
from tests.workflows.conftest import tiny  # noqa: F401
from tests.workflows.index_cases import rows

HERE = "http://127.0.0.1"
ITEMS = 40


def picture(colour: str = "red", size: tuple[int, int] = (320, 200), kind: str = "PNG") -> bytes:
    """A drawn picture file."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).ellipse((20, 20, size[0] - 20, size[1] - 20), fill=colour)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def small(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A data set of 40 items, two with pictures, and 60 interactions, with its index and its model beside it."""
    folder = tmp_path_factory.mktemp("small")
    data = folder / "data"
    (data / "images").mkdir(parents=True)
    (data / "images" / "000.png").write_bytes(picture("red"))
    (data / "images" / "001.jpg").write_bytes(picture("blue", kind="JPEG"))
    lines = [
        f"{line},{ {0: 'images/000.png', 1: 'images/001.jpg'}.get(number, '') }"
        for number, line in enumerate(rows(ITEMS))
    ]
    (data / "items.csv").write_text("item_id,title,category,price,image\n" + "\n".join(lines) + "\n", encoding="utf-8")
    events = [f"u{user},{(3 * user + step) % ITEMS:03},{step}" for user in range(12) for step in range(5)]
    (data / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(events) + "\n", encoding="utf-8")
    tiny.save_pretrained(folder / "tiny")
    build(BuildOptions(dataset=str(data), output=str(folder / "index"), checkpoint=str(folder / "tiny")))
    return folder


@pytest.fixture
def options(small: Path, tmp_path: Path) -> LiveOptions:
    """What a service over a copy of the index is opened with."""
    shutil.copytree(small / "index", tmp_path / "index")
    return LiveOptions(str(tmp_path / "index"), str(tmp_path / "memory"), str(small / "data"))


@pytest.fixture(scope="module")
def service(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """A service that the tests of a module share."""
    folder = tmp_path_factory.mktemp("service")
    shutil.copytree(small / "index", folder / "index")
    opened = LiveService.open(LiveOptions(str(folder / "index"), str(folder / "memory"), str(small / "data")))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def client(service: LiveService) -> Iterator[TestClient]:
    """A caller of that service, without keys."""
    with TestClient(create_app(service), base_url=HERE, raise_server_exceptions=False) as caller:
        yield caller
