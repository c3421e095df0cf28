"""One worker process that decodes images: paths come in, prepared pixels go out.

Started by :mod:`adapt.features.decode` as ``python -m adapt.features.decode_worker SETTINGS``. Each line of its input
is a JSON string, the path of a file. Each answer is a JSON line, ``{"size": BYTES}`` with that many bytes of pixels
behind it, or ``{"error": REASON}``.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import BinaryIO

from adapt.features.decode import decode
from adapt.features.preprocess import ImagePreprocess


def serve(settings: str, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the input ends."""
    values = json.loads(settings)
    preprocess = ImagePreprocess(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
    for line in requests:
        decoded = decode(Path(json.loads(line)), preprocess)
        if isinstance(decoded, str):
            answers.write(json.dumps({"error": decoded}).encode() + b"\n")
        else:
            answers.write(json.dumps({"size": decoded.nbytes}).encode() + b"\n" + decoded.tobytes())
        answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    serve(sys.argv[1], sys.stdin.buffer, sys.stdout.buffer)
