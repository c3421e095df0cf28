"""What differs between two things that are shared: what they are, what they read, their figures and files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from adapt.errors import CheckpointError
from adapt.files import SUMS, read_object, read_sums, sha256_file
from adapt.hub.resolve import resolve

Section = Literal["model", "features", "base", "index", "pretraining", "run", "figures", "items", "files"]
_DOCUMENTS: Mapping[str, Section] = {
    "config.json": "model",
    "adapter_config.json": "model",
    "feature_spec.json": "features",
    "base.json": "base",
}
_OF_INDEX = ("kind", "choice", "count", "dim", "storage", "space", "threshold", "target", "text_template", "graph")
_MADE_FROM_OTHERS = ("README.md", SUMS)


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same.

    Attributes:
        section: of what kind it is.
        name: dotted path in its JSON file, data set and metric of a figure, or a file.
        first, second: JSON values; None = it is not there.
    """

    section: Section
    name: str
    first: Any
    second: Any

    @property
    def change(self) -> float | None:
        """``second - first`` of two figures; None for anything else."""
        numbers = (self.first, self.second)
        if self.section == "figures" and all(isinstance(value, int | float) for value in numbers):
            return float(self.second - self.first)
        return None


@dataclass(frozen=True)
class Diff:
    """Two references compared.

    Attributes:
        first, second: as given.
        sha256: of the ``SHA256SUMS`` of each; empty for an index that was not made to be shared.
        differences: by section; empty = they hold the same.
    """

    first: str
    second: str
    sha256: tuple[str, str]
    differences: tuple[Difference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "first": {"reference": self.first, "sha256": self.sha256[0]},
            "second": {"reference": self.second, "sha256": self.sha256[1]},
            "same": not self.differences,
            "differences": [{**asdict(one), "change": one.change} for one in self.differences],
        }


def diff(first: str, second: str) -> Diff:
    """Compare two checkpoints, two adapters or two indexes by what their files say; no towers are built.

    Args:
        first, second: folders, bundled names, or ``org/name[@revision]`` on the Hub; of a fine-tuned run its adapter.

    Raises:
        CheckpointError: one is unknown, or holds no files that say what it is.
        HubError: a repository cannot be had.
    """
    folders = (_folder(first), _folder(second))
    ours, theirs = (dict(_facts(folder)) for folder in folders)
    found = [
        Difference(section, name, ours.get((section, name)), theirs.get((section, name)))
        for section, name in dict.fromkeys((*ours, *theirs))
        if ours.get((section, name)) != theirs.get((section, name))
    ]
    if all(map(_is_index, folders)):
        from adapt.hub.index_contents import contents_of, item_changes

        changes = item_changes(contents_of(folders[0]), contents_of(folders[1]))
        found += [Difference("items", name, here, there) for name, here, there in changes]
    found.sort(key=lambda one: get_args(Section).index(one.section))
    sums = tuple(sha256_file(folder / SUMS) if (folder / SUMS).is_file() else "" for folder in folders)
    return Diff(first, second, (sums[0], sums[1]), tuple(found))


def _folder(reference: str) -> Path:
    folder = resolve(reference)
    return folder / "adapter" if (folder / "run.json").is_file() and (folder / "adapter").is_dir() else folder


def _is_index(folder: Path) -> bool:
    return (folder / "CURRENT").is_file()


def _facts(folder: Path) -> Iterator[tuple[tuple[Section, str], Any]]:
    """Everything that can differ: its section and name, and its value."""
    if _is_index(folder):
        yield from _of_index(folder)
        return
    listed = read_sums(folder)
    documents = [name for name in _DOCUMENTS if (folder / name).is_file()]
    if not documents:
        raise CheckpointError(f"expected a checkpoint, an adapter or an index in {folder}, found none of them")
    for document in documents:
        for name, value in _leaves(read_object(folder / document)):
            yield (_DOCUMENTS[document], name), value
    if (folder / "metrics.json").is_file():
        own = str(read_object(folder / "config.json").get("name", "")) if "config.json" in documents else ""
        yield from _of_metrics(read_object(folder / "metrics.json"), own)
    for name, digest in listed.items():
        if name not in _MADE_FROM_OTHERS:
            yield ("files", name), digest


def _of_index(folder: Path) -> Iterator[tuple[tuple[Section, str], Any]]:
    """What an index says of itself. Its files have names and rows of their own on every machine, and say nothing."""
    from adapt.hub.index_contents import described

    found = described(folder).to_dict()
    for name, value in _leaves(found.pop("model")):
        yield ("base", name), value
    recall = found.pop("recall") or {}
    for name in ("recall", "storage"):
        yield ("figures", f"recall: {name}"), recall.get(name)
    for name, value in _leaves({name: found[name] for name in _OF_INDEX if found[name] is not None}):
        yield ("index", name), value


def _of_metrics(metrics: Mapping[str, Any], own: str) -> Iterator[tuple[tuple[Section, str], Any]]:
    """What ``metrics.json`` says; of the figures on targets those of the checkpoint called ``own``."""
    for name, value in _leaves(metrics.get("pretraining", {})):
        yield ("pretraining", name), value
    for name, value in _leaves(metrics.get("adaptation", {})):
        yield ("pretraining", f"adaptation.{name}"), value
    for name, value in _leaves(metrics.get("run", {})):
        yield ("run", name), value
    for entry in metrics.get("targets", {}).get("results", []):
        for metric, value in entry["methods"].get(own, {}).items():
            yield ("figures", f"{entry['target']} ({entry['setting']}): {metric}"), value
    for method, figures in metrics.get("validation", {}).get("methods", {}).items():
        for metric, value in figures.items():
            yield ("figures", f"validation, {method}: {metric}"), value["mean"]
    for table in (*metrics.get("left_out", []), *metrics.get("benchmarks", [])):
        caption = table["caption"].partition(":")[0].partition(",")[0]
        for row in table["rows"]:
            for column, cell in zip(table["columns"][1:], row[1:], strict=True):
                yield ("figures", f"{caption}, {row[0]}: {column}"), _number(cell)


def _number(cell: Any) -> Any:
    """A cell of a table as the number that it shows, where it shows one."""
    try:
        return float(cell)
    except (TypeError, ValueError):
        return cell


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path and value of everything in a JSON document; a list is one value."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
