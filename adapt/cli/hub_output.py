"""What ``adapt hub`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adapt.cli import output

if TYPE_CHECKING:
    from adapt.hub.describe import CheckpointFacts
    from adapt.hub.diff import Diff
    from adapt.hub.push import Pushed
    from adapt.hub.remote import RemoteEntry
    from adapt.workflows.hub_compare import Comparison
    from adapt.workflows.hub_new import NewFolder

_LONGEST = 60


def listed(entries: Sequence[RemoteEntry], org: str) -> None:
    """What an organisation shares."""
    if not entries:
        output.text(f"{output.clean(org)} shares nothing that adapt reads.")
        return
    rows = [
        [one.name, one.kind, one.updated[:10], one.commit[:12], "private" if one.private else ""] for one in entries
    ]
    table(["name", "kind", "updated", "commit", ""], rows)
    output.text("`adapt hub show NAME` fetches one and says all about it.")


def facts(found: CheckpointFacts) -> None:
    """Everything that is known of a checkpoint: one line each, then its tables of figures."""
    lines(_facts(found))
    for part in found.metrics.get("left_out", []):
        table(part["columns"], part["rows"], part["caption"])
    targets = found.metrics.get("targets", {})
    if targets.get("results"):
        from adapt.hub.card import target_summary

        table(*target_summary(found.config["name"], targets), targets["caption"])
    for part in found.metrics.get("benchmarks", []):
        table(part["columns"], part["rows"], part["caption"])


def _facts(found: CheckpointFacts) -> list[tuple[str, str]]:
    from adapt.hub.card import added_to

    pretraining, run = found.metrics.get("pretraining", {}), found.metrics.get("run", {})
    shown = [
        ("name", found.config["name"]),
        ("summary", found.config["summary"]),
        ("sha256", found.sha256),
        ("folder", f"{found.folder} ({output.size(found.size_bytes)})"),
        ("towers", f"{found.config['architecture']}, {found.parameters:,} parameters"),
    ]
    for modality, encoder in found.feature_spec["encoders"].items():
        power = found.feature_spec["normalisation"][modality]["power"]
        name = f"{encoder['kind']} {encoder['name']}{added_to(encoder)}"
        described = f"{name}, {encoder['dim']} wide, whitening power {power:g}"
        shown.append((f"{modality} encoder", f"{described}\n{encoder['id']}"))
    shown.append(("trained on", ", ".join(found.trained_on) or "nothing"))
    if found.never_trained_on:
        shown.append(("never trained on", ", ".join(found.never_trained_on)))
    shown += [("licences", "\n".join(pretraining["licences"]))] if pretraining.get("licences") else []
    shown += [(name, str(run[name])) for name in ("command", "date", "machine") if name in run]
    shown += [("file", f"{name} ({output.size(size)}) {digest}") for name, size, digest in found.files]
    return shown


def pushed(done: Pushed) -> None:
    """What went, or would go."""
    plan = done.plan
    table(["file", "size"], [[file.name, output.size(file.size_bytes)] for file in plan.files])
    total = f"{len(plan.files)} files, {output.size(plan.size_bytes)}"
    for name in plan.left_out[:10]:
        output.text(output.clean(f"stays here: {name}"))
    if len(plan.left_out) > 10:
        output.text(f"and {len(plan.left_out) - 10} more files stay here")
    if not done.commit:
        output.text(f"{total} of this {plan.kind} would go to {done.repo}. Nothing was sent.")
        return
    for name in done.removed:
        output.text(output.clean(f"removed there: {name}"))
    if done.unchanged:
        output.text(f"{done.repo} holds exactly this already: {done.reference}")
    else:
        output.text(f"{total} of this {plan.kind} went to {done.reference}")
    output.text(f"`adapt hub verify {done.reference}` fetches and checks it.")


def differences(found: Diff) -> None:
    """What differs, section by section."""
    if not found.differences:
        output.text("They hold the same.")
        return
    rows = []
    for one in found.differences:
        change = "" if one.change is None else f"{one.change:+.4f}"
        rows.append([one.section, one.name, _short(one.first), _short(one.second), change])
    table(["", "what", found.first, found.second, "change"], rows)


def _short(value: Any) -> str:
    if value is None:
        return "-"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def made(new: NewFolder) -> None:
    """A new folder and the steps from there."""
    output.text(f"{new.folder} is ready to be filled: edit recipe.yaml, then in that folder")
    for command in new.commands:
        output.text(f"  {command}")


def compared(found: Comparison) -> None:
    """The verdict first, then the figures."""
    from adapt.workflows.evaluate_results import metric_title

    output.text(output.clean(found.verdict.headline))
    for sentence in found.verdict.sentences:
        output.text(output.clean(sentence))
    output.text("")
    output.text(output.clean(found.description))
    names = list(found.contenders[0].metrics)
    rows = []
    for one in found.contenders:
        figures = [
            f"{one.metrics[name].mean:.4f} [{one.metrics[name].low:.4f}, {one.metrics[name].high:.4f}]"
            for name in names
        ]
        rows.append([one.reference, *figures, _against(one.against_best), f"{one.readable:,}", f"{one.parameters:,}"])
    title = f"{found.users:,} users, {found.candidates:,} candidates [95 % interval]; * = the difference is sure"
    table(
        ["checkpoint", *map(metric_title, names), "vs the first", "items it reads", "parameters"],
        rows,
        title,
    )
    for name, reason in found.left_out.items():
        output.text(output.clean(f"{name} was not compared: {reason}"))


def _against(found: Any) -> str:
    if found is None:
        return ""
    change, _, interval = found.words().partition(", 95 % ")
    return f"{change} [{interval.replace(' to ', ', ')}]{' *' if found.significant else ''}"


def lines(shown: Sequence[tuple[str, str]]) -> None:
    """Names and values, one to a line; a value may have several."""
    from rich.table import Table

    grid = Table(box=None, show_header=False, pad_edge=False)
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in shown:
        grid.add_row(name, "\n".join(output.clean(line) for line in str(value).splitlines()))
    output.show(grid)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "") -> None:
    """A table of figures or files."""
    from rich import box
    from rich.table import Table

    if caption:
        output.text("")
    grid = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, title=output.clean(caption) if caption else None, title_justify="left"
    )
    for column in columns:
        grid.add_column(output.clean(column), overflow="fold")
    for row in rows:
        grid.add_row(*(output.clean(str(cell)) for cell in row))
    output.show(grid)
