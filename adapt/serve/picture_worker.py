"""One process that decodes pictures which strangers sent: bounded memory, nothing else to lose.

Started by :mod:`adapt.serve.pictures` as ``python -m adapt.serve.picture_worker BYTES``. A request is a JSON line,
``{"size": BYTES, "pixels": MOST, "side": MOST, "thumbnail": bool}``, with that many bytes of a file behind it. An
answer is a JSON line, ``{"size": BYTES, "type": MEDIA TYPE}`` with the new file behind it, or ``{"error": REASON}``.
"""

from __future__ import annotations

import io
import json
import signal
import sys
from typing import BinaryIO

from PIL import Image

from adapt.data.images import open_image
from adapt.errors import DataError

_QUALITY = 95  # of a picture that encoders will read
_THUMBNAIL_QUALITY = 82


def reencoded(data: bytes, pixels: int, side: int, *, thumbnail: bool) -> tuple[bytes, str]:
    """A new file with nothing of the old one but its pixels, upright, at most ``side`` of them a side; its media type.

    A photograph stays a JPEG, what came without loss stays without; a thumbnail is a JPEG.

    Raises:
        DataError: it cannot be decoded, or has more than ``pixels`` pixels.
    """
    opened = open_image(io.BytesIO(data), pixels)
    image = Image.new("RGB", opened.size)  # it has no comment, place or profile to be written again
    image.paste(opened)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if thumbnail:
        image.save(buffer, "JPEG", quality=_THUMBNAIL_QUALITY, optimize=True, progressive=True)
    elif data[:2] == b"\xff\xd8":
        image.save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    else:
        image.save(buffer, "PNG", compress_level=3)
        return buffer.getvalue(), "image/png"
    return buffer.getvalue(), "image/jpeg"


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the input ends."""
    while line := requests.readline():
        asked = json.loads(line)
        data = requests.read(asked["size"])
        try:
            made, kind = reencoded(data, asked["pixels"], asked["side"], thumbnail=asked["thumbnail"])
        except (DataError, MemoryError) as error:
            reason = error.message if isinstance(error, DataError) else "a picture that does not fit the memory"
            answers.write(json.dumps({"error": reason}).encode() + b"\n")
        else:
            answers.write(json.dumps({"size": len(made), "type": kind}).encode() + b"\n" + made)
        answers.flush()


def _bound(memory: int) -> None:
    """Have the system refuse more memory, and end the process where it asks for more than that in other ways."""
    try:
        import resource
    except ImportError:  # Windows: the pixel limit and the time limit remain
        return
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it writes no file


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    Image.init()
    _bound(int(sys.argv[1]))
    serve(sys.stdin.buffer, sys.stdout.buffer)
