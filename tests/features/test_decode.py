"""Decoding images in worker processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from adapt.features import decode as module
from adapt.features.decode import decode, decode_batches
from adapt.features.preprocess import ImagePreprocess
from tests.features.conftest import picture

SMALL = ImagePreprocess(8, 8, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"bild {n} é.png" for n in range(12)]
    for number, path in enumerate(paths):
        picture((0, 20 * number, 0)).save(path)
    return paths


def test_batches_keep_their_order(files: list[Path]) -> None:
    batches = [files[start : start + 2] for start in range(0, 12, 2)]
    decoded = [item for batch in decode_batches(batches, SMALL, workers=2) for item in batch]
    assert [int(np.asarray(item)[0, 0, 1]) for item in decoded] == [20 * n for n in range(12)]
    assert all(np.array_equal(item, decode(path, SMALL)) for item, path in zip(decoded, files, strict=True))


def test_a_file_that_ends_its_worker_is_named_and_the_rest_is_decoded(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = module._Worker.decode

    def killed(worker: module._Worker, path: Path) -> module.Decoded:
        if path == files[3]:
            process = worker._process or worker._start()
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        return answer(worker, path)

    monkeypatch.setattr(module._Worker, "decode", killed)
    (decoded,) = decode_batches([files], SMALL, workers=1)
    assert [number for number, item in enumerate(decoded) if isinstance(item, str)] == [3]
    assert str(files[3]) in str(decoded[3])


def test_no_worker_is_left_behind_when_the_reader_stops(files: list[Path]) -> None:
    started: list[int] = []
    batches = decode_batches([[path] for path in files], SMALL, workers=2)
    next(batches)
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    if not children.exists():
        pytest.skip("needs /proc to see child processes")
    threads = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    started = [int(pid) for path in threads for pid in path.read_text().split()]
    batches.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 10
    while any(_is_decoder(pid) for pid in started) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert started
    assert not any(_is_decoder(pid) for pid in started)


def _is_decoder(pid: int) -> bool:
    try:
        return b"decode_worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_a_program_without_a_main_guard_can_use_workers(files: list[Path], tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from pathlib import Path\n"
        "from adapt.features.decode import decode_batches\n"
        "from adapt.features.preprocess import ImagePreprocess\n"
        "half = (0.5, 0.5, 0.5)\n"
        f"paths = sorted(Path({str(files[0].parent)!r}).glob('*.png'))\n"
        "batches = decode_batches([paths], ImagePreprocess(8, 8, 'bilinear', half, half), workers=2)\n"
        "print(sum(item.shape == (8, 8, 3) for batch in batches for item in batch))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(module.__file__).parents[2])}
    command = [sys.executable, str(program)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment)
    assert done.stdout.strip() == "12", done.stderr
