"""A run as others get it: its adapter and what it knows of items, without the histories of its users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapt.config import config, parse, to_dict
from adapt.errors import CheckpointError
from adapt.hub.adapter import Adapter
from adapt.hub.format import Checkpoint
from adapt.memory.fusion import POPULARITY
from adapt.memory.memory import EVIDENCE
from adapt.workflows.finetuned import METHODS, REMEMBERING, TOWER

_CHANNELS = {POPULARITY, TOWER, *EVIDENCE}


@config
class SharedMap:
    """The part of a normaliser that is no tensor."""

    sketch: int
    sketch_weight: float


@config
class SharedWeighing:
    """The weights of a method that remembers; see :class:`~adapt.workflows.finetuned.Weighing`."""

    content: float
    weights: dict[str, float]
    events: int


@config
class SharedItems:
    """``items`` in ``metrics.json``: what it takes to recommend with the items that are shared with an adapter.

    Attributes:
        count: of the items.
        bound: of the residuals; None = the run learned none.
        normalisers: by modality.
        weighings: by method.
        seed: of everything random.
    """

    count: int
    bound: float | None
    normalisers: dict[str, SharedMap]
    weighings: dict[str, SharedWeighing]
    seed: int


def shared_items(record: Mapping[str, Any], count: int) -> dict[str, Any]:
    """What ``metrics.json`` says of the items of a run, by its ``run.json``."""
    residual = record["residual"]
    given = {
        "count": count,
        "bound": None if residual is None else residual["bound"],
        "normalisers": record["normalisers"],
        "weighings": record["weighings"],
        "seed": record["seed"],
    }
    return to_dict(parse(SharedItems, given, "run.json", CheckpointError))


def shared_record(adapter: Adapter, base: Checkpoint) -> dict[str, Any]:
    """What ``run.json`` would say of a run that was shared.

    Args:
        adapter: with the run's items beside it.
        base: its checkpoint.

    Raises:
        CheckpointError: there are no items, or ``metrics.json`` does not say how they are used.
    """
    metrics, where = adapter.metrics, str(adapter.folder / "metrics.json")
    if "items" not in metrics:
        raise CheckpointError(
            f"expected a run, or the adapter of one with its items, found an adapter without items in {adapter.folder}",
            "`adapt zero-shot --checkpoint` recommends by its towers. Items go with an adapter only where its author "
            "pushes the run with --include-items.",
        )
    items = parse(SharedItems, metrics["items"], f"items in {where}", CheckpointError)
    validation: Any = metrics.get("validation")
    chosen = metrics.get("chosen")
    named = {name for weighing in items.weighings.values() for name in weighing.weights}
    try:
        reached = {name: float(found["ndcg@10"]["mean"]) for name, found in validation["methods"].items()}
        fits = {chosen, *reached} <= set(METHODS) and chosen in reached and {"zero-shot", "fine-tuned"} <= set(reached)
        fits = fits and isinstance(validation["events"], int)
    except (KeyError, TypeError, ValueError, AttributeError):
        fits = False
    if not fits or not named <= _CHANNELS or set(items.weighings) != set(REMEMBERING):
        raise CheckpointError(f"expected the methods of a run with their figures and weights in {where}, found others")
    found = to_dict(items)
    return {
        "base": {"name": base.config.name, "sha256": base.sha256, "reference": adapter.base.reference},
        "adaptation": {"kind": "lora"},
        "chosen": chosen,
        "validation": validation,
        "residual": None if items.bound is None else {"bound": items.bound},
        **{name: found[name] for name in ("normalisers", "weighings", "seed")},
    }
