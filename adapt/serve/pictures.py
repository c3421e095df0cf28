"""Pictures from strangers: decoded and made anew in a process that may break, thumbnails kept within a bound."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from adapt.processes import start_module
from adapt.serve.problems import ProblemError
from adapt.serve.settings import Settings

_READ = 1 << 16


@dataclass(frozen=True)
class Picture:
    """A file that this service has made.

    Attributes:
        data: its bytes.
        media_type: of them.
    """

    data: bytes
    media_type: str


@dataclass(eq=False)
class Pictures:
    """Decodes pictures one at a time in a worker process; every method may be called from several threads.

    Args:
        settings: the bounds.
    """

    settings: Settings
    _process: subprocess.Popen[bytes] | None = None
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _kept: OrderedDict[tuple[str, int], Picture] = field(default_factory=OrderedDict)
    _kept_bytes: int = 0
    _keeping: threading.Lock = field(default_factory=threading.Lock)

    def checked(self, data: bytes) -> bytes:
        """A whole, upright picture of bounded size, made anew from the file that was sent.

        Raises:
            ProblemError: 413 for too many bytes, 422 for what is no picture, has too many pixels, or takes too much
                time or memory to decode.
        """
        if len(data) > self.settings.picture_bytes:
            raise ProblemError(
                413, f"expected a picture of at most {self.settings.picture_bytes:,} bytes, found {len(data):,}"
            )
        return self._made(data, self.settings.picture_side, thumbnail=False).data

    def thumbnail(self, data: bytes, side: int) -> Picture:
        """A small JPEG of a stored picture.

        Raises:
            ProblemError: it cannot be decoded.
        """
        key = (sha256(data).hexdigest(), side)
        with self._keeping:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = self._made(data, side, thumbnail=True)
        with self._keeping:
            if key not in self._kept:
                self._kept[key] = made
                self._kept_bytes += len(made.data)
            while self._kept_bytes > self.settings.thumbnail_bytes:
                _, oldest = self._kept.popitem(last=False)
                self._kept_bytes -= len(oldest.data)
        return made

    def close(self) -> None:
        """End the worker."""
        with self._turn:
            self._stop()

    def _made(self, data: bytes, side: int, *, thumbnail: bool) -> Picture:
        asked = {"size": len(data), "pixels": self.settings.picture_pixels, "side": side, "thumbnail": thumbnail}
        with self._turn:
            process = self._process
            if process is None or process.poll() is not None:
                memory = str(self.settings.picture_memory)
                process = self._process = start_module("adapt.serve.picture_worker", memory, buffered=False)
            try:
                deadline = time.monotonic() + self.settings.picture_seconds
                answer, made = _exchange(process, json.dumps(asked).encode() + b"\n" + data, deadline)
            except (OSError, ValueError, TimeoutError) as error:
                self._stop()
                took = "time" if isinstance(error, TimeoutError) else "memory"
                raise ProblemError(
                    422, f"expected a picture, found a file that takes too much {took} to decode"
                ) from error
        if "error" in answer:
            raise ProblemError(422, str(answer["error"]), "Send a JPEG, PNG, GIF, WEBP, BMP, TIFF or AVIF file.")
        return Picture(made, str(answer["type"]))

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _exchange(process: subprocess.Popen[bytes], request: bytes, deadline: float) -> tuple[dict[str, Any], bytes]:
    """Send a request and read its whole answer, neither of which may last beyond ``deadline``.

    Raises:
        TimeoutError: it would.
        OSError, ValueError: the process has ended, or answers what is no answer.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    left, received = memoryview(request), bytearray()
    answer: dict[str, Any] | None = None
    os.set_blocking(process.stdin.fileno(), False)
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdin, selectors.EVENT_WRITE)
        ready.register(process.stdout, selectors.EVENT_READ)
        while answer is None or len(received) < answer.get("size", 0):
            events = ready.select(max(0.0, deadline - time.monotonic()))
            if not events:
                raise TimeoutError
            for key, _ in events:
                if key.fileobj is process.stdin:
                    left = left[os.write(process.stdin.fileno(), left[:_READ]) :]
                    if not left:
                        ready.unregister(process.stdin)
                elif chunk := os.read(process.stdout.fileno(), _READ):
                    received += chunk
                else:
                    raise OSError("the process has ended")
            if answer is None and (end := received.find(b"\n")) >= 0:
                answer = json.loads(received[:end])
                del received[: end + 1]
    return answer, bytes(received)
