"""Text encoder from transformers: the mean of the last hidden states over a text's tokens."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from adapt.errors import CheckpointError
from adapt.features.base import FloatArray, Modality, Precision
from adapt.features.identity import content_id, weights_of_file

if TYPE_CHECKING:
    from torch import Tensor

# Tokens of one pass, padding included: enough rows to keep the matrix kernels busy, few enough to stay in the caches
# of a processor. An accelerator wants more.
_PASS_TOKENS = {"cpu": 2_048}
_PASS_TOKENS_ELSEWHERE = 16_384
# A text shorter than this share of the longest of its pass starts a new one, if the pass is worth one.
_ALIKE, _WORTH_A_PASS = 0.9, 0.25
# Shows casing, accents, punctuation and word pieces: tokenizers that agree on it treat texts alike.
_PROBE = "Crème BRÛLÉE, the café's 42-piece set: unbelievably good! 日本 naïve"


@dataclass(frozen=True, eq=False)
class TransformersEncoder:
    """A transformer with its pooling.

    Attributes:
        pooling: ``mean`` over the tokens, or the first token (``cls``).
        normalize: whether a text's vector is scaled to length 1.
        max_length: tokens of a text that are read, the special ones included.
    """

    id: str
    dim: int
    model: Any
    tokenizer: Any
    pooling: Literal["mean", "cls"]
    normalize: bool
    max_length: int
    device: str = "cpu"
    modality: Modality = "text"
    chunk: int = 256

    def encode(self, batch: Sequence[str]) -> FloatArray:
        """Pooled features of texts: float32 (n, dim). A pass holds texts of similar length, to pad little."""
        values = np.zeros((len(batch), self.dim), np.float32)
        if not batch:
            return values
        ids = self.tokenizer(list(batch), truncation=True, max_length=self.max_length)["input_ids"]
        lengths = np.array([len(tokens) for tokens in ids])
        most = _PASS_TOKENS.get(self.device.partition(":")[0], _PASS_TOKENS_ELSEWHERE)
        for rows in passes(lengths, most):
            values[rows] = self._forward([ids[row] for row in rows])
        return values

    def _forward(self, ids: list[list[int]]) -> FloatArray:
        import torch

        padded = self.tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(self.device)
        with torch.inference_mode():
            states = self.model(**padded).last_hidden_state  # (n, tokens, dim)
            pooled = pool(states.float(), padded["attention_mask"], self.pooling, self.normalize)
        result: FloatArray = pooled.cpu().numpy()
        return result


def passes(lengths: NDArray[np.int64], most: int) -> list[NDArray[np.int64]]:
    """Rows that go through the model together: alike in length, and no more tokens than are computed well at once.

    Args:
        lengths: int64 (n,), tokens of each text.
        most: tokens of one pass, padding included; a longer text has a pass of its own.

    Returns:
        Rows of each pass, longest texts first; each row once.

    >>> [rows.tolist() for rows in passes(np.array([3, 50, 4, 48, 47]), most=100)]
    [[1, 3], [4], [2, 0]]
    """
    order = np.argsort(-lengths, kind="stable")
    found, start = [], 0
    for place, length in enumerate(lengths[order].tolist()):
        widest = int(lengths[order[start]])
        tokens = (place - start) * widest
        full = tokens + widest > most
        if place > start and (full or (length < _ALIKE * widest and tokens >= _WORTH_A_PASS * most)):
            found.append(order[start:place])
            start = place
    return [*found, order[start:]] if len(order) else []


def pool(states: Tensor, mask: Tensor, pooling: Literal["mean", "cls"], normalize: bool) -> Tensor:
    """Vectors of texts from the last hidden states of their tokens.

    Args:
        states: (n, tokens, dim).
        mask: (n, tokens), 1 where there is a token.
        pooling: the mean over the tokens, or the first one.
        normalize: whether to scale each vector to length 1.

    Returns:
        (n, dim).
    """
    import torch

    if pooling == "cls":
        pooled = states[:, 0]
    else:
        weights = mask.unsqueeze(-1).to(states.dtype)
        pooled = (states * weights).sum(1) / weights.sum(1).clamp_min(1)
    return torch.nn.functional.normalize(pooled, dim=-1) if normalize else pooled


def load_transformers(
    folder: Path, max_length: int = 256, device: str = "cpu", precision: Precision = "float32"
) -> TransformersEncoder:
    """Read a folder of transformers or sentence-transformers, safetensors only, with no access to the network.

    Args:
        folder: that holds them.
        max_length: tokens of a text that are read.
        device: where it runs.
        precision: of the products of linear layers. The features of ``bfloat16`` are float32 too, a little off those
            of ``float32`` (MiniLM: mean cosine 0.99998, 99.3 % of the 10 nearest texts kept), and have an identity of
            their own.

    Raises:
        CheckpointError: a file is missing, weights are missing or in another format, or the pooling is unknown.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    from adapt.features.precision import narrow

    files = sorted(folder.glob("*.safetensors"))
    if not files or not (folder / "config.json").is_file():
        raise CheckpointError(
            f"expected config.json and *.safetensors in {folder}, found {sorted(p.name for p in folder.glob('*'))}",
            "Save the model with model.save_pretrained(folder); pickled weights are not read.",
        )
    weights = [weight for file in files for weight in weights_of_file(file)]
    pooling, normalize = _pooling(folder)
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model, info = AutoModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"expected a transformers text model in {folder}, found: {error}") from error
    _refuse_random(info, folder)
    model.eval().requires_grad_(False).to(device)
    if precision != "float32":
        narrow(model, getattr(torch, precision))
    positions = getattr(model.config, "max_position_embeddings", max_length)
    length = min(max_length, int(positions))
    description = {
        "vocabulary": sorted(tokenizer.get_vocab().items()),
        "probe": tokenizer(_PROBE)["input_ids"],
        "pooling": pooling,
        "normalize": normalize,
        "max_length": length,
    }
    if precision != "float32":  # an identity that is already in checkpoints and caches stays what it is
        description["precision"] = precision
    return TransformersEncoder(
        id=content_id("transformers", weights, description),
        dim=int(model.config.hidden_size),
        model=model,
        tokenizer=tokenizer,
        pooling=pooling,
        normalize=normalize,
        max_length=length,
        device=device,
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No bar and no report on unused weights from the library: what matters of it is checked below."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def _refuse_random(info: dict[str, Any], folder: Path) -> None:
    """The pooler is not used by our pooling; any other weight that the files lack would be random."""
    absent = sorted(key for key in info["missing_keys"] if "pooler." not in key)
    mismatched = sorted(str(entry[0]) for entry in info.get("mismatched_keys", ()))
    if absent or mismatched:
        raise CheckpointError(
            f"expected every weight of the model in {folder}, found {len(absent)} missing and {len(mismatched)} of "
            f"another shape, first: {(absent + mismatched)[:3]}",
            "They would be random numbers: fetch the whole model.",
        )


def _pooling(folder: Path) -> tuple[Literal["mean", "cls"], bool]:
    """How sentence-transformers pools and normalises; without its files, a plain mean."""
    try:
        modules = (
            json.loads((folder / "modules.json").read_text("utf-8")) if (folder / "modules.json").is_file() else []
        )
        normalize = any(str(module["type"]).endswith(".Normalize") for module in modules)
        paths = [folder / module["path"] for module in modules if str(module["type"]).endswith(".Pooling")]
        if not paths:
            return "mean", normalize
        settings = json.loads((paths[0] / "config.json").read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"expected the pooling of sentence-transformers in {folder}, found: {error!r}") from error
    chosen = settings.get("pooling_mode") or [
        key.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
        for key, value in settings.items()
        if key.startswith("pooling_mode_") and value is True
    ]
    if chosen in ("mean", ["mean"]):
        return "mean", normalize
    if chosen in ("cls", ["cls"]):
        return "cls", normalize
    raise CheckpointError(f"expected mean or cls pooling in {paths[0]}, found {chosen}")
