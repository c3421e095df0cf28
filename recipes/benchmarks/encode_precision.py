"""Whether fewer bits or another engine pay for MiniLM: speed as ratios to float32, and what the vectors lose.

    python recipes/benchmarks/encode_precision.py [--texts 384] [--rounds 3]

bfloat16 is an option of the encoder here (`precision: bfloat16`). The others are what one would try instead: int8 by
torch's dynamic quantisation, ONNX Runtime in float32 and int8, OpenVINO in float32 and bfloat16, each with the same
tokens, passes and pooling, only the model between them is another. Lost is the mean cosine to the vectors of float32,
and the share of each text's 10 nearest texts (float32) that are still among the 10 nearest. Texts are those of a
made-up catalog (`scale_data.py`). Sides take turns; a ratio is the median over rounds. About two minutes on 2 cores.

`pip install -r recipes/benchmarks/requirements.txt` brings the engines; one that is not there is named as not measured.
How fast bfloat16 is depends on the processor: several times as fast where it multiplies bfloat16 (AMX: Intel since
2023), no faster, or slower, where it does not.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import logging
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from encode_texts import MINILM, catalog_texts
from measuring import ratio_of, report, take_turns

from adapt.features.load import load_encoder
from adapt.features.transformers import TransformersEncoder
from adapt.machine import cores
from adapt.top import top_k

K = 10
NEEDS = {
    "onnxruntime float32": ("onnxruntime", "onnx"),
    "onnxruntime int8": ("onnxruntime", "onnx"),
    "openvino float32": ("openvino",),
    "openvino bfloat16": ("openvino",),
}


class States(torch.nn.Module):
    """The last hidden states alone, which exporters can trace."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def engine(call: Callable[[dict[str, np.ndarray]], np.ndarray]) -> Callable[..., SimpleNamespace]:
    """Arrays in, states out, as a model of transformers is called."""

    def run(input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: object) -> SimpleNamespace:
        states = call({"input_ids": input_ids.numpy(), "attention_mask": attention_mask.numpy()})
        return SimpleNamespace(last_hidden_state=torch.from_numpy(states))

    return run


def int8(encoder: TransformersEncoder) -> Any:
    """Linear layers by torch's dynamic quantisation."""
    return torch.ao.quantization.quantize_dynamic(copy.deepcopy(encoder.model), {torch.nn.Linear}, torch.qint8)


def onnx_runtime(encoder: TransformersEncoder, folder: Path, bits: int) -> Any:
    """ONNX Runtime on every core, in float32 or with dynamic int8."""
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = folder / "float32.onnx"
    if not path.is_file():
        ids = torch.ones((2, 8), dtype=torch.long)
        axes = {name: {0: "texts", 1: "tokens"} for name in ("input_ids", "attention_mask", "states")}
        torch.onnx.export(
            States(encoder.model),
            (ids, ids),
            str(path),
            input_names=["input_ids", "attention_mask"],
            output_names=["states"],
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )
    if bits == 8:
        quantize_dynamic(str(path), str(folder / "int8.onnx"), weight_type=QuantType.QInt8)
        path = folder / "int8.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return engine(lambda arrays: session.run(None, arrays)[0])


def openvino(encoder: TransformersEncoder, hint: str) -> Any:
    """OpenVINO on every core."""
    import openvino

    ids = torch.ones((2, 8), dtype=torch.long)
    model = openvino.convert_model(States(encoder.model), example_input=(ids, ids))
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": cores()}
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    return engine(lambda arrays: compiled((arrays["input_ids"], arrays["attention_mask"]))[0].copy())


def sides(encoder: TransformersEncoder, folder: Path) -> tuple[dict[str, TransformersEncoder], dict[str, str]]:
    """Name -> encoder, and what cannot be measured with the reason."""
    made: dict[str, Callable[[], Any]] = {
        "torch int8": lambda: int8(encoder),
        "onnxruntime float32": lambda: onnx_runtime(encoder, folder, 32),
        "onnxruntime int8": lambda: onnx_runtime(encoder, folder, 8),
        "openvino float32": lambda: openvino(encoder, "f32"),
        "openvino bfloat16": lambda: openvino(encoder, "bf16"),
    }
    fast = load_encoder(replace(MINILM, precision="bfloat16"))
    assert isinstance(fast, TransformersEncoder)
    found, missing = {"adapt float32": encoder, "adapt bfloat16": fast}, {}
    for name, make in made.items():
        absent = [module for module in NEEDS.get(name, ()) if importlib.util.find_spec(module) is None]
        if absent:
            missing[name] = f"{' and '.join(absent)} not installed"
        else:
            found[name] = replace(encoder, model=make())
    return found, missing


def lost(vectors: np.ndarray, true: np.ndarray, k: int = K) -> tuple[float, float]:
    """Mean cosine to the true vectors, and the mean share of the true ``k`` nearest rows that are still nearest.

    Args:
        vectors, true: float32 (n, dim), unit rows, more than ``k`` of them; a row is not its own neighbour.

    >>> a = np.eye(3, dtype=np.float32) + 0.1
    >>> a /= np.linalg.norm(a, axis=1, keepdims=True)
    >>> cosine, kept = lost(a, a, k=1)
    >>> round(cosine, 5), kept
    (1.0, 1.0)
    """
    cosine = float((vectors * true).sum(axis=1).mean())
    near, nearest = _neighbours(vectors, k), _neighbours(true, k)
    kept = [len(set(some) & set(all_of)) / k for some, all_of in zip(near.tolist(), nearest.tolist(), strict=True)]
    return cosine, float(np.mean(kept))


def _neighbours(vectors: np.ndarray, k: int) -> np.ndarray:
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    return top_k(scores, k)[0]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")  # exporters and quantisers say much about themselves
    logging.disable(logging.WARNING)
    encoder = load_encoder(MINILM)
    assert isinstance(encoder, TransformersEncoder)
    texts = catalog_texts(arguments.texts)
    with tempfile.TemporaryDirectory() as name:
        encoders, missing = sides(encoder, Path(name))
        vectors = {side: one.encode(texts) for side, one in encoders.items()}
        seconds = take_turns(
            {side: lambda one=one: one.encode(texts) for side, one in encoders.items()}, arguments.rounds
        )
    base = "adapt float32"
    ratios = [
        ratio_of(f"texts/s of MiniLM by {side} to float32", seconds[base], seconds[side])
        for side in encoders
        if side != base
    ]
    rows: list[dict[str, object]] = []
    for side, values in seconds.items():
        cosine, kept = lost(vectors[side], vectors[base])
        rows.append(
            {
                "encoder": side,
                "texts_per_s": round(len(texts) / float(np.median(values)), 1),
                "mean_cosine": round(cosine, 5),
                f"recall@{K}": round(kept, 4),
            }
        )
    report("encode_precision", ratios, rows, missing, texts=len(texts))


if __name__ == "__main__":
    main()
