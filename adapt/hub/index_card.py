"""The card of an index, made from what its folder says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapt.hub.adapter_card import base_model
from adapt.hub.card import front_matter, markdown_table

_PEOPLE = """\
It holds no user: no history, no interaction, and none of the users' states that its recall was measured with where it
was built. Rows that were deleted there are not in it."""


def render_index_card(metrics: Mapping[str, Any]) -> str:
    """The card as Markdown with the Hub's YAML front matter.

    Args:
        metrics: ``metrics.json``: ``items``, ``dim``, ``storage``, ``kind``, ``columns``, ``modalities``, ``recall``
            and ``model`` (name, reference, fingerprint). ``repository`` is the ``org/name`` that the index is shared
            as, ``license`` its licence.

    Returns:
        Text of ``README.md``.
    """
    model = metrics["model"]
    name = metrics.get("repository") or "FOLDER/OF/THIS/CARD"
    recall = metrics.get("recall")
    rows = [
        ["items", f"{metrics['items']:,}"],
        ["embedding", f"{metrics['dim']} numbers, stored as {metrics['storage']}"],
        ["search", metrics["kind"]],
        ["recall", f"{recall['recall']:.4f} at {recall['k']}, on {recall['queries']} queries" if recall else "exact"],
        ["modalities", ", ".join(f"{key} ({count:,} items)" for key, count in metrics["modalities"].items())],
        ["columns", ", ".join(metrics["columns"]) or "none"],
        ["model", f"`{model['reference']}`"],
        ["fingerprint of the model", f"`{model['fingerprint']}`"],
    ]
    sections = [
        f"# Index of {metrics['items']:,} items for {model['name']}",
        "Item embeddings that can be searched, with the ids, titles, columns and features of the items.",
        f"## How to use\n\n```python\nfrom adapt.workflows.living_index import LivingIndex\n\n"
        f'index = LivingIndex.open("{name}")\nhits = index.by_item(index.snapshot.ids[0])\n```\n\n'
        f"```bash\nadapt index info --index {name}\nadapt hub pull {name} --output index  # a copy to change\n```",
        f"## What it holds\n\n{markdown_table(['', ''], rows)}\n\n{_PEOPLE}",
        "The graph of an approximate index is no part of it: it is built from the embeddings where it is used.",
    ]
    front = front_matter(
        {
            "license": metrics.get("license") or "other",
            "library_name": "adapt",
            "tags": ["recommender-systems", "retrieval", "index"],
            "base_model": base_model(model),
        }
    )
    return front + "\n\n".join(sections) + "\n"
