"""The model card of a checkpoint, made from its JSON files alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

_USE = """\
Ranking the items of a catalog for people of whom little or nothing is known, in any domain that texts or pictures
describe, before there are interactions to learn from; and as the start of a fine-tune once there are."""

_LIMITS = """\
Embeddings say what items are, not who should buy them: with many interactions of your own, measure against item-kNN
before you ship zero-shot recommendations. The text encoder reads English best. What people liked in the pretraining
data, and whom those data leave out, is in these weights too. Not for decisions about people, such as credit, housing or
work."""

DEFAULT_LICENSE = "apache-2.0"
_DATASET = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")

_RUN: dict[str, tuple[str, Callable[[Any], str]]] = {
    "command": ("command", "`{}`".format),
    "date": ("date", str),
    "machine": ("machine", str),
    "seconds": ("time", lambda value: f"{value / 60:,.0f} min" if value >= 90 else f"{value} s"),
    "resumed": ("interrupted", lambda value: f"{value} times" if value != 1 else "once"),
    "peak_memory_bytes": ("peak memory", lambda value: f"{value / 1e9:.1f} GB"),
}


def render_card(config: Mapping[str, Any], spec: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """The card as Markdown with the Hub's YAML front matter.

    Args:
        config: ``config.json``.
        spec: ``feature_spec.json``.
        metrics: ``metrics.json``; sections that it does not hold are left out. ``repository`` is the ``org/name`` that
            the checkpoint is shared as, ``license`` its licence.

    Returns:
        Text of ``README.md``.
    """
    pretraining, targets = metrics.get("pretraining", {}), metrics.get("targets", {})
    sections = [
        f"# {config['name']}",
        config["summary"],
        f"## Intended use\n\n{_USE}",
        how_to_use(metrics.get("repository") or config["name"]),
        _features(spec),
        _training(pretraining, targets),
        _sentences("Licences", pretraining.get("licences", [])),
        _tables("Left-out domains", metrics.get("left_out", [])),
        _targets(config["name"], targets),
        _tables("Further measurements", metrics.get("benchmarks", [])),
        _run(metrics.get("run", {})),
        f"## Limits\n\n{_LIMITS}",
    ]
    return _front_matter(config, metrics) + "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    results = [
        {
            "task": {"type": "recommendation", "name": "zero-shot next item, full ranking"},
            "dataset": {"name": f"{entry['target']} ({entry['setting']})", "type": entry["target"]},
            "metrics": [
                {"type": metric, "value": value, "name": metric}
                for metric, value in entry["methods"][config["name"]].items()
            ],
        }
        for entry in metrics.get("targets", {}).get("results", [])
    ]
    return front_matter(
        {
            "license": metrics.get("license") or DEFAULT_LICENSE,
            "library_name": "adapt",
            "tags": ["recommender-systems", "cold-start", "zero-shot", "multi-modal"],
            "datasets": dataset_names(metrics.get("pretraining", {}).get("trained_on", [])),
            "model-index": [{"name": config["name"], "results": results}] if results else [],
        }
    )


def front_matter(fields: Mapping[str, Any]) -> str:
    """The Hub's metadata at the head of a card; fields without a value are left out."""
    front = {name: value for name, value in fields.items() if value}
    return "---\n" + yaml.dump(front, Dumper=_Dumper, sort_keys=False, allow_unicode=True) + "---\n\n"


def dataset_names(names: Sequence[str]) -> list[str]:
    """The names that the Hub accepts under ``datasets``.

    >>> dataset_names(["ml100k", "org/shop", "my shop", "/home/me/shop"])
    ['ml100k', 'org/shop']
    """
    return [name for name in names if _DATASET.fullmatch(name)]


class _Dumper(yaml.SafeDumper):
    """Quotes text with a line break of Unicode, which YAML would otherwise read back as a space."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = '"' if any(character in value for character in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


_Dumper.add_representer(str, _text)


def how_to_use(reference: str, *, remark: str = "") -> str:
    """The block that a reader copies.

    Args:
        reference: that the model is read from.
        remark: beside the line that reads it.
    """
    beside = f"  # {remark}" if remark else ""
    return (
        "## How to use\n\n```python\nimport adapt\n\n"
        f'model = adapt.Checkpoint.from_pretrained("{reference}"){beside}\n'
        'data = adapt.load_dataset("shop/")\n'
        "recommender = adapt.zero_shot(model, data)\n```\n\n"
        f"```bash\nadapt zero-shot --dataset shop/ --checkpoint {reference} --output results/\n```"
    )


def _features(spec: Mapping[str, Any]) -> str:
    rows = []
    for modality, encoder in spec["encoders"].items():
        normalisation = spec["normalisation"][modality]
        rows.append(
            [
                modality,
                f"`{encoder['kind']}` {encoder['name']}{added_to(encoder)}",
                f"`{encoder['id'][:24]}`",
                str(encoder["dim"]),
                f"ZCA power {normalisation['power']:g}, prior {normalisation['prior_count']:g} items",
            ]
        )
    return "## Features\n\n" + markdown_table(
        ["modality", "frozen encoder", "identity", "width", "normalisation"], rows
    )


def added_to(encoder: Mapping[str, Any]) -> str:
    """What a checkpoint adds to an encoder's weights, in words."""
    parts = [
        ", with the LoRA adapter in this checkpoint" if encoder.get("adapter") else "",
        f", and a lexical sketch of {encoder['sketch']} buckets" if encoder.get("sketch") else "",
    ]
    return "".join(parts)


def _training(pretraining: Mapping[str, Any], targets: Mapping[str, Any]) -> str:
    if not pretraining:
        return ""
    named = {name: value for name, value in pretraining.items() if name not in ("notes", "licences")}
    if untouched := never_trained_on(pretraining, targets):
        named = {"trained_on": named.pop("trained_on"), "never_trained_on": untouched, **named}
    lines = [f"- {name.replace('_', ' ')}: {_words(value)}" for name, value in named.items()]
    notes = "".join(f"\n\n{note}" for note in pretraining.get("notes", []))
    return "## Pretraining\n\n" + "\n".join(lines) + notes


def never_trained_on(pretraining: Mapping[str, Any], targets: Mapping[str, Any]) -> list[str]:
    """The data sets that measured the checkpoint and are not among those it was trained on."""
    measured = dict.fromkeys(entry["target"] for entry in targets.get("results", []))
    return [name for name in measured if name not in pretraining.get("trained_on", [])]


def target_summary(name: str, targets: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the table that sets a checkpoint beside the best scorer that needs no training."""
    rows = []
    for entry in targets.get("results", []):
        ours, best = entry["methods"][name], entry["methods"][entry["best_baseline"]]
        low, high = entry["difference_95"]
        rows.append(
            [
                entry["target"],
                entry["setting"],
                f"{entry['users']:,}",
                f"{ours['ndcg@10']:.4f}",
                f"{best['ndcg@10']:.4f} ({entry['best_baseline']})",
                f"{entry['change_percent']:+.1f} %",
                f"[{low:+.4f}, {high:+.4f}]",
            ]
        )
    columns = ["data set", "items", "users", name, "best without training", "change", "95 % interval of the difference"]
    return columns, rows


def _targets(name: str, targets: Mapping[str, Any]) -> str:
    """The checkpoint beside the best baseline, then every method in every setting, target by target."""
    if not targets.get("results"):
        return ""
    parts = ["## Results on target data sets", targets["caption"]]
    parts.append(markdown_table(*target_summary(name, targets)))
    for target in dict.fromkeys(entry["target"] for entry in targets["results"]):
        entries = [entry for entry in targets["results"] if entry["target"] == target]
        methods = dict.fromkeys(method for entry in entries for method in entry["methods"])
        rows = [[method, *(_figures(entry["methods"].get(method)) for entry in entries)] for method in methods]
        parts += [f"### {target}", "Recall@10 / NDCG@10 of every method."]
        parts.append(markdown_table(["method", *(entry["setting"] for entry in entries)], rows))
    if command := targets.get("command"):
        parts.append(f"Command: `{command}`")
    return "\n\n".join(parts)


def _figures(values: Mapping[str, float] | None) -> str:
    return f"{values['recall@10']:.4f} / {values['ndcg@10']:.4f}" if values else ""


def _sentences(title: str, sentences: Sequence[str]) -> str:
    return f"## {title}\n\n" + "\n\n".join(sentences) if sentences else ""


def _run(run: Mapping[str, Any]) -> str:
    """How it was made, one line for each fact, so that two runs of one recipe differ in nothing but such lines."""
    lines = [f"- {label}: {shown(run[name])}" for name, (label, shown) in _RUN.items() if name in run]
    return "## How it was made\n\n" + "\n".join(lines) if lines else ""


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
