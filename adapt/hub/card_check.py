"""Whether a card is one that the Hub takes."""

from __future__ import annotations

from typing import Any

from adapt.errors import CheckpointError

_RELATIONS = ("adapter", "finetune", "merge", "quantized")
_HINT = "`adapt hub card PATH` writes the card anew from what the folder holds."


def check_card(text: str, where: str) -> dict[str, Any]:
    """Read a card as huggingface_hub does and check what the Hub demands of its metadata.

    Args:
        text: of ``README.md``.
        where: named in errors.

    Returns:
        The metadata.

    Raises:
        CheckpointError: there is no metadata, it is no YAML, or a field is none that the Hub takes.
    """
    import yaml
    from huggingface_hub import ModelCard

    if not text.startswith("---\n"):
        raise CheckpointError(f"expected a card that begins with metadata in {where}, found none", _HINT)
    try:
        data: Any = ModelCard(text).data
        found: dict[str, Any] = data.to_dict()
    except (ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as failure:
        problem = next(iter(str(failure).splitlines()), type(failure).__name__)
        raise CheckpointError(f"expected a card that the Hub reads in {where}, found: {problem}", _HINT) from failure
    for problem in _problems(found):
        raise CheckpointError(f"expected a card that the Hub takes in {where}, found {problem}", _HINT)
    return found


def _problems(data: dict[str, Any]) -> list[str]:
    problems = [f"no {name}" for name in ("license", "library_name", "tags") if not data.get(name)]
    for name in ("tags", "datasets"):
        value = data.get(name, [])
        if not isinstance(value, list) or not all(isinstance(part, str) and part for part in value):
            problems.append(f"{name} that are no list of names: {value!r}")
    base, relation = data.get("base_model"), data.get("base_model_relation")
    if base is not None and not (isinstance(base, str) and base and "@" not in base):
        problems.append(f"base_model {base!r}, which is no name of a model")
    if relation is not None and (relation not in _RELATIONS or not base):
        problems.append(f"base_model_relation {relation!r} of base_model {base!r}")
    return problems
