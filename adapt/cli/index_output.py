"""Results of ``adapt index`` on the screen and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adapt.cli import output

if TYPE_CHECKING:
    from rich.table import Table

    from adapt.index.description import Description
    from adapt.workflows.checks import Check
    from adapt.workflows.index_build import BuildResult, ItemsReport
    from adapt.workflows.index_facts import IndexFacts
    from adapt.workflows.living_index import Change, Hits

_SHOWN = 5


def built(result: BuildResult, *, as_json: bool) -> None:
    """Say what was built."""
    described = result.description
    _say_report(result.report)
    if result.stages.profile:
        output.profile(result.stages.to_dict())
    if as_json:
        document = {
            "path": str(result.path),
            "generation": result.generation,
            "count": described.count,
            "dim": described.dim,
            "kind": described.kind,
            "storage": described.storage,
            "model": described.to_dict()["model"],
            "recall": described.to_dict()["recall"],
            **_report(result.report),
            "timings": {stage: round(seconds, 3) for stage, seconds in result.timings.items()},
            **({"profile": result.stages.to_dict()} if result.stages.profile else {}),
        }
        output.document(document)
        return
    output.text(f"{described.count:,} items of {described.dim} dimensions in {result.path}, {_recall(described)}")


def changed(change: Change, *, as_json: bool) -> None:
    """Say what a writer did."""
    if change.report is not None:
        _say_report(change.report)
    if as_json:
        document: dict[str, Any] = {
            "generation": change.generation,
            "count": change.count,
            "added": change.added,
            "replaced": change.replaced,
            "removed": change.removed,
            "recalibrated": change.recalibrated,
        }
        output.document(document | (_report(change.report) if change.report is not None else {}))
        return
    done = [f"{getattr(change, what):,} {what}" for what in ("added", "replaced", "removed") if getattr(change, what)]
    measured = ", recall measured again" if change.recalibrated else ""
    output.text(f"{', '.join(done) or 'rewritten'}; {change.count:,} items can be found{measured}")


def found(hits: Hits, *, as_json: bool) -> None:
    """Show a ranked list."""
    if hits.unknown:
        shown = ", ".join(map(repr, hits.unknown[:_SHOWN]))
        output.note(f"{len(hits.unknown)} items of the history are not in the index and were not read: {shown}")
    listed = list(zip(hits.item_ids, hits.titles, hits.scores, strict=True))
    if as_json:
        items = [
            {"item_id": item_id, "rank": rank, "score": round(score, 6), "title": title}
            for rank, (item_id, title, score) in enumerate(listed, start=1)
        ]
        output.document({"key": hits.key, "generation": hits.generation, "unknown": list(hits.unknown), "items": items})
        return
    if not listed:
        output.text("No item of the index is allowed.")
        return
    table = _table("rank", "item_id", "title", "score")
    for rank, (item_id, title, score) in enumerate(listed, start=1):
        table.add_row(str(rank), output.clean(item_id), output.clean(title), f"{score:.3f}")
    output.show(table)


def info(facts: IndexFacts, *, as_json: bool) -> None:
    """Show what an index is."""
    if as_json:
        output.document(facts.to_dict())
        return
    described = facts.description
    model = described.model
    rows = {
        "index": f"{facts.path}, generation {int(facts.generation)}",
        "items": f"{described.count:,} ({', '.join(f'{n:,} with {m}' for m, n in facts.modalities.items()) or 'bare'})",
        "deleted": f"{facts.deleted:,} rows on disk, until `adapt index compact`",
        "embeddings": f"{described.dim} dimensions, {described.storage}",
        "search": _recall(described),
        **_engine(facts.engine),
        "model": f"{model.name or 'unknown'} ({model.reference or 'not said'}), {model.fingerprint}",
        "columns": ", ".join(facts.columns) or "none",
        "drift": _drift(facts.drift),
        "disk": output.size(sum(facts.sizes.values()))
        + f", of that embeddings {output.size(facts.sizes.get('embeddings', 0))}"
        + f", features {output.size(facts.sizes.get('features', 0))}",
    }
    width = max(map(len, rows)) + 2
    for name, value in rows.items():
        output.text(f"{name:<{width}}{output.clean(value)}")


def checked(checks: Sequence[Check], *, as_json: bool) -> None:
    """Show what was checked."""
    if as_json:
        output.document(
            {
                "sound": all(check.passed is not False for check in checks),
                "checks": [{"name": c.name, "passed": c.passed, "detail": c.detail} for c in checks],
            }
        )
        return
    for check in checks:
        word = {True: "ok", False: "FAILED", None: "skipped"}[check.passed]
        output.text(f"{word:<8}{check.name:<11}{output.clean(check.detail)}")


def _recall(described: Description) -> str:
    recall = described.recall
    if recall is None:
        return f"{described.kind}, recall not measured"
    how = "exact search" if described.kind == "exact" else f"HNSW with ef {recall.ef}"
    if described.remote is not None:
        breadth = f" with a breadth of {described.remote.breadth}" if described.remote.breadth else ""
        how = f"{described.remote.settings.index} in {described.kind}{breadth}"
    lost = "" if described.storage == "float32" else f" ({1 - recall.storage:.4f} lost by storing {described.storage})"
    changes = f", {recall.changes:,} changes since" if recall.changes else ""
    return f"{how}: {recall.recall:.4f} of the true first {recall.k} found on {recall.queries:,} queries{lost}{changes}"


def _engine(engine: dict[str, Any] | None) -> dict[str, str]:
    """Lines on an engine elsewhere."""
    if engine is None:
        return {}
    state = f"{engine['server']}, {engine['rows']:,} rows" if engine["away"] is None else f"AWAY: {engine['away']}"
    return {
        "engine": f"{engine['engine']} at {engine['uri']}, {state}",
        "collection": f"{engine['collection']}, which leads to {engine['holds']}; consistency {engine['consistency']}; "
        f"filters there by {', '.join(engine['columns']) or 'nothing'}",
    }


def _drift(drift: dict[str, float]) -> str:
    if not drift:
        return "unknown: no features are kept"
    shown = ", ".join(f"{name} {value:.4f}" for name, value in drift.items())
    return f"{shown} (0 = as when the normalisation was frozen; `adapt index compact --refit` renews it)"


def _report(report: ItemsReport) -> dict[str, Any]:
    return {
        "given": report.given,
        "encoded": dict(report.encoded),
        "left_out": list(report.left_out),
        "encode_failures": [{"item_id": item, "reason": reason} for item, reason in report.failures],
    }


def _say_report(report: ItemsReport) -> None:
    if report.left_out:
        first = ", ".join(map(repr, report.left_out[:_SHOWN]))
        output.note(f"{len(report.left_out):,} items have no usable feature and are left out: {first}")
    for item, reason in report.failures[:_SHOWN]:
        output.note(f"item {item!r}: {reason}")
    if len(report.failures) > _SHOWN:
        output.note(f"and {len(report.failures) - _SHOWN:,} more")


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in ("rank", "score") else "left", no_wrap=name == "item_id")
    return table
