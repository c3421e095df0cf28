"""Image files to prepared pixels, in worker processes where there are enough of them."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from adapt.data.images import open_image
from adapt.errors import DataError
from adapt.features.preprocess import ImagePreprocess
from adapt.processes import start_module

Decoded: TypeAlias = "NDArray[np.uint8] | str"
"""Pixels (size, size, 3), or why there are none."""

FEWEST_FOR_WORKERS = 128  # below, starting the workers takes longer than decoding
_MOST_WORKERS = 8
_AHEAD = 4  # batches that are decoded before the encoder asks for them


def decode(path: Path, preprocess: ImagePreprocess) -> Decoded:
    """Prepared pixels of one file, or the reason why it cannot be read."""
    try:
        return preprocess(open_image(path))
    except DataError as error:
        return error.message


def decode_batches(
    batches: Sequence[Sequence[Path]], preprocess: ImagePreprocess, workers: int | None = None
) -> Iterator[list[Decoded]]:
    """Decode batch after batch, a few batches ahead of the encoder.

    Args:
        batches: files of each batch.
        preprocess: of the encoder.
        workers: processes; None is one fewer than the processors, and none at all for a few files; 0 is none.
    """
    if workers is None:
        few = sum(map(len, batches)) < FEWEST_FOR_WORKERS
        workers = 0 if few else min(_MOST_WORKERS, max(1, (os.cpu_count() or 2) - 1))
    if not workers:
        for batch in batches:
            yield [decode(path, preprocess) for path in batch]
        return
    with _Pool(preprocess, workers) as pool:
        waiting: deque[list[Future[Decoded]]] = deque()
        for batch in batches:
            waiting.append([pool.submit(path) for path in batch])
            if len(waiting) > _AHEAD:
                yield [future.result() for future in waiting.popleft()]
        while waiting:
            yield [future.result() for future in waiting.popleft()]


class _Worker:
    """A process that decodes; it is started at its first file and again after a file has ended it.

    A plain child process and not ``multiprocessing``: a fork of a process that runs torch's threads can hang, and a
    spawned one runs the user's main program again.
    """

    def __init__(self, preprocess: ImagePreprocess) -> None:
        self._preprocess = preprocess
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, path: Path) -> Decoded:
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(os.fspath(path)).encode() + b"\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            if "error" in answer:
                return str(answer["error"])
            pixels = process.stdout.read(answer["size"])
            size = self._preprocess.size
            return np.frombuffer(pixels, np.uint8).reshape(size, size, 3)
        except (OSError, ValueError):
            self.stop()
            return f"expected a picture, found a file that ended the program that decodes it: {path}"

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = start_module("adapt.features.decode_worker", json.dumps(self._preprocess.describe()))
        return self._process


class _Pool(contextlib.AbstractContextManager["_Pool"]):
    """Worker processes, each driven by one thread at a time."""

    def __init__(self, preprocess: ImagePreprocess, workers: int) -> None:
        self._workers = [_Worker(preprocess) for _ in range(workers)]
        self._free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="decode")

    def submit(self, path: Path) -> Future[Decoded]:
        return self._threads.submit(self._decode, path)

    def _decode(self, path: Path) -> Decoded:
        worker = self._free.get()
        try:
            return worker.decode(path)
        finally:
            self._free.put(worker)

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.stop()
