"""An encoder that is loaded when there is something to encode: with a warm cache, no weights are read at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from adapt.features.base import Encoder, EncoderSpec, FloatArray, Modality


class LazyEncoder:
    """Stands for an encoder whose identity and width are pinned; loading it checks them.

    Args:
        spec: with ``id`` and ``dim``.
        load: gives the encoder, or raises; called at most once.
    """

    def __init__(self, spec: EncoderSpec, load: Callable[[], Encoder]) -> None:
        self.id = spec.id
        self.dim = spec.dim
        self.modality: Modality = spec.modality
        self._load = load
        self._encoder: Encoder | None = None

    def encode(self, batch: Sequence[Any]) -> FloatArray:
        """See :meth:`adapt.features.base.Encoder.encode`; an empty batch is encoded too, by the real encoder."""
        return self.loaded().encode(batch)

    @property
    def is_loaded(self) -> bool:
        """Whether the encoder has been loaded."""
        return self._encoder is not None

    def loaded(self) -> Encoder:
        """The encoder itself.

        Raises:
            AdaptError: what loading it raises.
        """
        if self._encoder is None:
            self._encoder = self._load()
        return self._encoder


def loaded(encoder: Encoder) -> Encoder:
    """The encoder itself, where ``encoder`` only stands for one."""
    return encoder.loaded() if isinstance(encoder, LazyEncoder) else encoder


def in_memory(encoder: Encoder) -> bool:
    """Whether nothing need be read before ``encoder`` can encode."""
    return not isinstance(encoder, LazyEncoder) or encoder.is_loaded
