"""A tuned text encoder on disk: which encoder it starts from, and a LoRA adapter."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapt import lora
from adapt.errors import CheckpointError
from adapt.features.identity import content_id, weights_of_file
from adapt.features.transformers import TransformersEncoder

BASE = "base.json"
FILES = (lora.CONFIG, lora.WEIGHTS, BASE)


def write_adapter(model: Any, encoder: TransformersEncoder, folder: Path, share: float = 1.0) -> None:
    """Write the adapter of a tuned model into an existing folder.

    Args:
        model: the encoder's model with an adapter; see :func:`adapt.lora.attach`.
        encoder: the untuned encoder.
        folder: receives peft's two files and ``base.json``.
        share: how far to move, as a part of the way from the untuned to the tuned weights.
    """
    lora.write(model, folder, share=share)
    text = json.dumps({"encoder": encoder.id, "max_length": encoder.max_length}, indent=2)
    (folder / BASE).write_text(text + "\n", encoding="utf-8")


def adapted(encoder: TransformersEncoder, folder: Path) -> TransformersEncoder:
    """The encoder with an adapter merged into its weights.

    Args:
        encoder: the untuned encoder; its model is changed in place.
        folder: written by :func:`write_adapter`.

    Returns:
        An encoder with an identity of its own: base and adapter.

    Raises:
        CheckpointError: the adapter belongs to another encoder, or a file is missing or damaged.
    """
    try:
        expected = json.loads((folder / BASE).read_text(encoding="utf-8"))["encoder"]
        settings = json.loads((folder / lora.CONFIG).read_text(encoding="utf-8"))
        description = {"base": expected, **{key: settings[key] for key in ("r", "lora_alpha", "target_modules")}}
    except (OSError, ValueError, KeyError, TypeError) as failure:
        raise CheckpointError(f"expected a tuned encoder in {folder}, found: {failure!r}") from failure
    if expected != encoder.id:
        raise CheckpointError(
            f"expected the encoder {expected} under the adapter in {folder}, found {encoder.id}",
            "Use the weights and the max_length that the adapter was trained with.",
        )
    identity = content_id("transformers", weights_of_file(folder / lora.WEIGHTS), description)
    lora.load(encoder.model, folder)
    lora.merge(encoder.model)
    return replace(encoder, id=identity)
