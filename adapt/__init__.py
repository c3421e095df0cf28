"""Transfer and cold-start adaptation for multi-modal sequential recommendation.

>>> import adapt
>>> sorted(adapt.__all__)[:3]
['AdaptError', 'Checkpoint', 'Dataset']
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from adapt.errors import AdaptError
from adapt.version import __version__

if TYPE_CHECKING:
    from adapt.data import Dataset, load_dataset
    from adapt.hub.format import Checkpoint
    from adapt.index import build_index, load_index
    from adapt.workflows.evaluate import evaluate
    from adapt.workflows.few_shot import FewShotRecommender, few_shot
    from adapt.workflows.finetune import FinetuneOptions, finetune
    from adapt.workflows.recommender import Recommendations, Recommender, ZeroShotRecommender, zero_shot
    from adapt.workflows.run import Run

# Loaded on first use, so that `import adapt` costs nothing.
_LAZY = {
    "Checkpoint": "adapt.hub.format",
    "Dataset": "adapt.data",
    "FewShotRecommender": "adapt.workflows.few_shot",
    "FinetuneOptions": "adapt.workflows.finetune",
    "Recommendations": "adapt.workflows.recommender",
    "Recommender": "adapt.workflows.recommender",
    "Run": "adapt.workflows.run",
    "ZeroShotRecommender": "adapt.workflows.recommender",
    "build_index": "adapt.index",
    "evaluate": "adapt.workflows.evaluate",
    "few_shot": "adapt.workflows.few_shot",
    "finetune": "adapt.workflows.finetune",
    "load_dataset": "adapt.data",
    "load_index": "adapt.index",
    "zero_shot": "adapt.workflows.recommender",
}

__all__ = [
    "AdaptError",
    "Checkpoint",
    "Dataset",
    "FewShotRecommender",
    "FinetuneOptions",
    "Recommendations",
    "Recommender",
    "Run",
    "ZeroShotRecommender",
    "__version__",
    "build_index",
    "evaluate",
    "few_shot",
    "finetune",
    "load_dataset",
    "load_index",
    "zero_shot",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'adapt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
