"""The card of an adapter, made from its JSON files alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapt.hub.card import DEFAULT_LICENSE, dataset_names, front_matter, how_to_use, markdown_table

_NO_ITEMS = "It holds no item and no user: what the training knew of single items, and all histories, stayed there."
_ITEMS = """\
It holds what the training learned of single items, by their ids (`items.safetensors`), and the map of their catalog. It
holds no user: few-shot and fused, which remember other users, remember here what your own data set holds of them."""
_RUN = """\
## How to use

```python
import adapt

run = adapt.Run.load("{name}")  # its base is fetched by the pinned revision
recommender = run.recommender(adapt.load_dataset("shop/"))
```

```bash
adapt recommend --run {name} --dataset shop/ --output results/
```"""
_RESIDUAL = "It was trained together with item residuals; without them it reaches less than the figures below."
_PEFT = """\
`adapter_config.json` and `adapter_model.safetensors` are peft's own files: `peft.PeftModel.from_pretrained(towers,
FOLDER)` takes them where `towers` are the base's, `Checkpoint.from_pretrained(BASE).towers`. peft builds no towers and
checks no base; `parameters.safetensors`, where it is there, is not its file and has to be put in by `adapt`."""


def render_adapter_card(base: Mapping[str, Any], config: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """The card as Markdown with the Hub's YAML front matter.

    Args:
        base: ``base.json``: which checkpoint the adapter belongs to.
        config: peft's ``adapter_config.json``.
        metrics: ``metrics.json``; sections that it does not hold are left out. ``repository`` is the ``org/name`` that
            the adapter is shared as, ``license`` its licence.

    Returns:
        Text of ``README.md``.
    """
    name, reference = base_model(base), metrics.get("repository", "")
    dataset = metrics.get("dataset", "")
    sections = [
        f"# LoRA adapter of {base['name']}" + (f" for {dataset}" if dataset else ""),
        _what(base, config, metrics),
        _use(reference or "FOLDER/OF/THIS/CARD", bool(metrics.get("items"))),
        f"## With peft alone\n\n{_PEFT}",
        _validation(metrics),
    ]
    front = front_matter(
        {
            "license": metrics.get("license") or DEFAULT_LICENSE,
            "library_name": "adapt",
            "tags": ["recommender-systems", "sequential-recommendation", "lora", "peft"],
            "base_model": name,
            "base_model_relation": "adapter",
            "datasets": dataset_names([dataset]),
            "model-index": _model_index(reference or f"{base['name']}-adapter", metrics),
        }
    )
    return front + "\n\n".join(section for section in sections if section) + "\n"


def base_model(base: Mapping[str, Any]) -> str:
    """The name that the Hub knows a base by: ``org/name`` of its reference, else its own name.

    >>> base_model({"name": "tiny", "reference": "hf://org/tiny@0123", "revision": "0123"})
    'org/tiny'
    >>> base_model({"name": "adapt-mini", "reference": "/home/me/towers"})
    'adapt-mini'
    """
    reference = str(base.get("reference", "")).removeprefix("hf://").partition("@")[0]
    parts = reference.split("/")
    is_repository = len(parts) >= 2 and all(parts) and not reference.startswith((".", "~"))
    return "/".join(parts[:2]) if is_repository else str(base["name"])


def _use(reference: str, items: bool) -> str:
    """The block that a reader copies: with items it recommends as a run, without them by its towers."""
    if items:
        return _RUN.format(name=reference)
    return how_to_use(reference, remark="its base is fetched by the pinned revision")


def _what(base: Mapping[str, Any], config: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    pinned = f" at revision `{base['revision']}`" if base.get("revision") else ""
    lines = [
        f"Low-rank updates (rank {config['r']}, alpha {config['lora_alpha']:g}) of the towers of `{base_model(base)}`"
        f"{pinned} (sha256 `{base['sha256']}`), trained on the histories of one data set. It fits no other base.",
        _ITEMS if metrics.get("items") else _NO_ITEMS,
    ]
    if metrics.get("residual") and not metrics.get("items"):
        lines.append(_RESIDUAL)
    return "\n\n".join(lines)


def _validation(metrics: Mapping[str, Any]) -> str:
    validation = metrics.get("validation")
    if not validation:
        return ""
    rows = [
        [
            f"{name} (chosen)" if name == metrics.get("chosen") else name,
            f"{found['recall@10']['mean']:.4f}",
            f"{found['ndcg@10']['mean']:.4f}",
            f"{found['ndcg@10']['low']:.4f} to {found['ndcg@10']['high']:.4f}",
        ]
        for name, found in validation["methods"].items()
    ]
    table = markdown_table(["method", "Recall@10", "NDCG@10", "95 % interval of NDCG@10"], rows)
    return f"## Validation\n\n{validation['events']:,} held-back events, {validation['policy']}.\n\n{table}"


def _model_index(name: str, metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The figures of the fine-tuned towers alone: what the adapter gives without the other users of the run."""
    found = metrics.get("validation", {}).get("methods", {}).get("fine-tuned")
    if not found or not metrics.get("dataset"):
        return []
    result = {
        "task": {"type": "recommendation", "name": "next item after fine-tuning, full ranking, held-back events"},
        "dataset": {"name": metrics["dataset"], "type": metrics["dataset"]},
        "metrics": [{"type": key, "value": round(value["mean"], 5), "name": key} for key, value in found.items()],
    }
    return [{"name": name, "results": [result]}]
