"""Text encoder from transformers: the mean of the last hidden states over a text's tokens."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from adapt.errors import CheckpointError
from adapt.features.base import FloatArray, Modality
from adapt.features.identity import content_id, weights_of_file

if TYPE_CHECKING:
    from torch import Tensor

_BATCH = 64
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
        """Pooled features of texts: float32 (n, dim). Batches hold texts of similar length, to pad little."""
        values = np.zeros((len(batch), self.dim), np.float32)
        if not batch:
            return values
        ids = self.tokenizer(list(batch), truncation=True, max_length=self.max_length)["input_ids"]
        order = np.argsort([-len(tokens) for tokens in ids], kind="stable")
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            values[rows] = self._forward([ids[row] for row in rows])
        return values

    def _forward(self, ids: list[list[int]]) -> FloatArray:
        import torch

        padded = self.tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(self.device)
        with torch.inference_mode():
            states = self.model(**padded).last_hidden_state  # (n, tokens, dim)
            pooled = pool(states, padded["attention_mask"], self.pooling, self.normalize)
        result: FloatArray = pooled.float().cpu().numpy()
        return result


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


def load_transformers(folder: Path, max_length: int = 256, device: str = "cpu") -> TransformersEncoder:
    """Read a folder of transformers or sentence-transformers, safetensors only, with no access to the network.

    Raises:
        CheckpointError: a file is missing, weights are missing or in another format, or the pooling is unknown.
    """
    from transformers import AutoModel, AutoTokenizer

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
    positions = getattr(model.config, "max_position_embeddings", max_length)
    length = min(max_length, int(positions))
    description = {
        "vocabulary": sorted(tokenizer.get_vocab().items()),
        "probe": tokenizer(_PROBE)["input_ids"],
        "pooling": pooling,
        "normalize": normalize,
        "max_length": length,
    }
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
