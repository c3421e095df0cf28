"""The model card of a checkpoint, made from its JSON files alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

_LIMITS = """\
Embeddings say what items are, not who should buy them: with many interactions of your own, measure against item-kNN
before you ship zero-shot recommendations. The text encoder reads English best. What people liked in the pretraining
data, and whom those data leave out, is in these weights too."""


def render_card(config: Mapping[str, Any], spec: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """The card as Markdown with the Hub's YAML front matter.

    Args:
        config: ``config.json``.
        spec: ``feature_spec.json``.
        metrics: ``metrics.json``; sections that it does not hold are left out.

    Returns:
        Text of ``README.md``.
    """
    sections = [
        f"# {config['name']}",
        config["summary"],
        _how_to_use(config["name"]),
        _features(spec),
        _training(metrics.get("pretraining", {})),
        _tables("Left-out domains", metrics.get("left_out", [])),
        _tables("Benchmarks", metrics.get("benchmarks", [])),
        f"## Limits\n\n{_LIMITS}",
    ]
    return _front_matter(config, metrics) + "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    results = [
        {
            "task": {"type": "recommendation", "name": "zero-shot next item, full ranking"},
            "dataset": {"name": entry["dataset"], "type": entry["dataset"]},
            "metrics": [{"type": name, "value": value, "name": name} for name, value in entry["model_index"].items()],
        }
        for table in metrics.get("benchmarks", [])
        for entry in table.get("entries", [])
    ]
    front = {
        "license": "apache-2.0",
        "library_name": "adapt",
        "tags": ["recommender-systems", "cold-start", "zero-shot", "multi-modal"],
        "model-index": [{"name": config["name"], "results": results}],
    }
    if not results:
        del front["model-index"]
    return "---\n" + yaml.safe_dump(front, sort_keys=False) + "---\n\n"


def _how_to_use(name: str) -> str:
    return (
        "## How to use\n\n```python\nimport adapt\n\n"
        f'model = adapt.Checkpoint.from_pretrained("{name}")\n'
        'data = adapt.load_dataset("shop/")\n'
        "recommender = adapt.zero_shot(model, data)\n```\n\n"
        f"```bash\nadapt zero-shot --dataset shop/ --checkpoint {name} --output results/\n```"
    )


def _features(spec: Mapping[str, Any]) -> str:
    rows = []
    for modality, encoder in spec["encoders"].items():
        normalisation = spec["normalisation"][modality]
        rows.append(
            [
                modality,
                f"`{encoder['kind']}` {encoder['name']}",
                f"`{encoder['id'][:24]}`",
                str(encoder["dim"]),
                f"ZCA power {normalisation['power']:g}, prior {normalisation['prior_count']:g} items",
            ]
        )
    return "## Features\n\n" + markdown_table(
        ["modality", "frozen encoder", "identity", "width", "normalisation"], rows
    )


def _training(pretraining: Mapping[str, Any]) -> str:
    if not pretraining:
        return ""
    lines = [f"- {name.replace('_', ' ')}: {_words(value)}" for name, value in pretraining.items() if name != "notes"]
    notes = "".join(f"\n\n{note}" for note in pretraining.get("notes", []))
    return "## Pretraining\n\n" + "\n".join(lines) + notes


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(part)}" for name, part in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_words(part) for part in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _tables(title: str, tables: Sequence[Mapping[str, Any]]) -> str:
    if not tables:
        return ""
    parts = [f"## {title}"]
    for table in tables:
        parts += [table["caption"], markdown_table(table["columns"], table["rows"])]
        if command := table.get("command"):
            parts.append(f"Command: `{command}`")
    return "\n\n".join(parts)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table.

    >>> print(markdown_table(["a", "b"], [[1, "x|y"]]))
    | a | b |
    |---|---|
    | 1 | x\\|y |
    """
    lines = [columns, ["---"] * len(columns), *rows]
    cells = [[" ".join(str(cell).splitlines()).replace("|", "\\|") for cell in line] for line in lines]
    text = ["| " + " | ".join(line) + " |" for line in cells]
    text[1] = "|" + "---|" * len(columns)
    return "\n".join(text)
