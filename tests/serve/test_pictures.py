"""Pictures from strangers: made anew, or refused, whatever they are; the process beside is bounded and comes back."""

from __future__ import annotations

import io
import os
import signal
import struct
import threading
import time
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from adapt.serve.pictures import Pictures
from adapt.serve.problems import ProblemError
from adapt.serve.settings import Settings

from .conftest import picture


@pytest.fixture
def pictures() -> Iterator[Pictures]:
    made = Pictures(Settings(picture_pixels=4_000_000))
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[Pictures]:
    made = Pictures(Settings(picture_pixels=4_000_000))
    yield made
    made.close()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that says it is of so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * min(30_000_000, (3 * width + 1) * height), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_small_lossless_picture_keeps_every_pixel(shared: Pictures) -> None:
    data = picture("red", (300, 200))
    made = opened(shared.checked(data))
    assert made.format == "PNG"
    assert np.array_equal(np.asarray(made), np.asarray(opened(data).convert("RGB")))


def test_a_photograph_stays_one_is_turned_upright_scaled_and_says_nothing_else(shared: Pictures) -> None:
    image = Image.effect_noise((2_000, 1_000), 40).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}  # where it was taken
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif, comment=b"secret")
    made = shared.checked(buffer.getvalue())
    assert opened(made).format == "JPEG"
    assert opened(made).size == (512, 1_024)
    assert not opened(made).getexif()
    assert b"secret" not in made


def test_a_file_that_is_two_things_leaves_as_a_picture_only(shared: Pictures) -> None:
    made = shared.checked(picture() + b"<script>alert(1)</script>")
    assert b"script" not in made


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("nothing", b""),
        ("text", b"hello"),
        ("half a PNG", picture()[:300]),
        ("half a JPEG", picture("red", (600, 600), "JPEG")[:2_000]),
        ("a PostScript program", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        ("an SVG", b"<svg xmlns='http://www.w3.org/2000/svg'><rect/></svg>"),
        ("a PDF", b"%PDF-1.4\n"),
        ("a bomb of 30,000 x 30,000", bomb(30_000, 30_000)),
        ("a size of 0", bomb(0, 10)),
        ("more pixels than are allowed", picture("red", (2_001, 2_000))),
        ("zeros", b"\0" * 100_000),
    ],
)
def test_what_is_no_picture_is_refused(shared: Pictures, what: str, data: bytes) -> None:
    with pytest.raises(ProblemError) as caught:
        shared.checked(data)
    assert caught.value.status == 422
    assert "/" not in caught.value.detail
    assert opened(shared.checked(picture()))  # the next one is served as ever


def test_a_bomb_takes_no_memory(pictures: Pictures) -> None:
    with pytest.raises(ProblemError):
        pictures.checked(bomb(60_000, 60_000))
    assert pictures._process is not None
    with open(f"/proc/{pictures._process.pid}/status", encoding="ascii") as status:  # noqa: PTH123
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    assert peak < 150_000  # kB; decoded it would be 10 GB


def test_too_many_bytes_are_refused() -> None:
    with pytest.raises(ProblemError) as caught:
        Pictures(Settings(picture_bytes=100)).checked(b"x" * 101)
    assert caught.value.status == 413


def test_memory_is_bounded_by_the_system(pictures: Pictures) -> None:
    tight = Pictures(Settings(picture_memory=400 << 20, picture_pixels=10**9))
    try:
        with pytest.raises(ProblemError) as caught:
            tight.checked(bomb(12_000, 12_000))
        assert caught.value.status == 422
        assert opened(tight.checked(picture()))
    finally:
        tight.close()


def test_a_worker_that_hangs_is_ended_and_another_takes_its_place(pictures: Pictures) -> None:
    hasty = Pictures(Settings(picture_seconds=1.0))
    try:
        assert opened(hasty.checked(picture()))
        assert hasty._process is not None
        stuck = hasty._process
        os.kill(stuck.pid, signal.SIGSTOP)
        start = time.monotonic()
        with pytest.raises(ProblemError, match="too much time"):
            hasty.checked(picture())
        assert time.monotonic() - start < 5
        assert stuck.poll() is not None
        assert opened(hasty.checked(picture())) if _started(hasty) else True
    finally:
        hasty.close()


def _started(pictures: Pictures) -> bool:
    """Whether a new worker was up within the time that this test gives it; a busy machine may be slower."""
    for _ in range(10):
        try:
            return bool(pictures.checked(picture()))
        except ProblemError:
            continue
    raise AssertionError("no worker took its place")


def test_a_worker_that_dies_is_replaced(pictures: Pictures) -> None:
    assert opened(pictures.checked(picture()))
    assert pictures._process is not None
    os.kill(pictures._process.pid, signal.SIGKILL)
    pictures._process.wait()
    assert opened(pictures.checked(picture()))


def test_a_large_file_goes_through_both_pipes(shared: Pictures) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (1_000, 1_000, 3), np.uint8))
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    made = shared.checked(buffer.getvalue())
    assert len(made) > 2_000_000
    assert np.array_equal(np.asarray(opened(made)), np.asarray(noise))


def test_thumbnails_are_kept_within_their_bound_and_shared_by_threads() -> None:
    few = Pictures(Settings(thumbnail_bytes=6_000))
    try:
        first = few.thumbnail(picture("red"), 64)
        assert few.thumbnail(picture("red"), 64) is first
        assert opened(first.data).size == (64, 40)
        threads = [
            threading.Thread(target=few.thumbnail, args=(picture(colour), 64))
            for colour in ("blue", "green", "black") * 4
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for size in range(100, 130):
            few.thumbnail(picture("red"), size)
        assert few._kept_bytes == sum(len(made.data) for made in few._kept.values()) <= 6_000
        assert few.thumbnail(picture("red"), 64) is not first
    finally:
        few.close()
