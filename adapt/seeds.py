"""One seed for everything that draws random numbers."""

from __future__ import annotations

import random

import numpy as np

DEFAULT_SEED = 0


def seed_everything(seed: int) -> None:
    """Seed ``random``, numpy and torch, and ask torch for deterministic kernels (with a warning where none exists)."""
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_deterministic_debug_mode("warn")
    # It would fill every new tensor, for code that reads what it has not written; that costs a fifth of a step.
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010 - not in torch's type stubs


def generator(seed: int, *stream: int) -> np.random.Generator:
    """A numpy generator for one purpose: the same ``(seed, *stream)`` gives the same numbers on every run.

    >>> generator(0, 1).integers(100) == generator(0, 1).integers(100)
    True
    """
    return np.random.default_rng([seed, *stream])
