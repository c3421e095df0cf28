"""Recommendations on the screen, as JSON and in its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapt import files, ranks
from adapt.cli import output

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from adapt.progress import Progress
    from adapt.workflows.recommend import RecommendResult

_SHOWN_LISTS = 3
_SHOWN_ITEMS = 5
_HISTORY_TITLES = 3


def deliver(compute: Callable[[Progress], RecommendResult], folder: Path | None, *, as_json: bool) -> None:
    """Recommend with live progress, write the result where a folder is given, and show it or print it as JSON."""
    from adapt.cli.progress import computing

    with computing() as progress:
        result = compute(progress)
        ranks.barrier()  # the others read what the main process removes when it has written the result
        if not ranks.is_main():
            return
        written = write_result(result, folder) if folder is not None else {}
    say_notes(result)
    if result.stages.profile:
        output.profile(result.stages.to_dict())
    if as_json:
        output.document(document(result, written))
        return
    show(result, written)
    show_self_check(result)


def write_result(result: RecommendResult, folder: Path) -> dict[str, Path]:
    """Write ``recommendations.csv``, ``run.json`` and ``report.html``; return the path of each by its name.

    The report is rendered first: when that fails nothing is written.

    Raises:
        OutputError: a file could not be written.
    """
    from adapt.report import recommend as report
    from adapt.workflows.recommend import write_outputs

    page = report.render(result)
    write_outputs(result, folder)
    with files.atomic_write(folder / "report.html") as handle:
        handle.write(page)
    result.work.finish()
    return {name: folder / name for name in ("recommendations.csv", "run.json", "report.html")}


def document(result: RecommendResult, written: dict[str, Path]) -> dict[str, Any]:
    """The JSON document of a result."""
    check = result.self_check
    return {
        "mode": result.mode,
        "method": result.method,
        "how": list(result.how),
        "dataset": {"name": result.dataset.name, "path": str(result.dataset.root)},
        "checkpoint": {
            "name": result.checkpoint.name,
            "ref": result.checkpoint.ref,
            "sha256": result.checkpoint.sha256,
        },
        "candidates": result.candidates,
        "with_text": result.with_text,
        "with_image": result.with_image,
        "with_both": result.with_both,
        "left_out": list(result.left_out),
        "encode_failures": [{"item_id": item, "reason": reason} for item, reason in result.encode_failures],
        "users_without_history": list(result.users_without_history),
        "keep_seen": result.keep_seen,
        "index": {
            "kind": result.index.kind,
            "count": result.index.count,
            "recall_target": result.index.recall_target,
            "recall_measured": result.index.recall_measured,
        },
        "self_check": None
        if check is None
        else {
            "users": check.users,
            "k": check.k,
            "recall": check.recall,
            "recall_interval": [check.recall_low, check.recall_high],
            "ndcg": check.ndcg,
            "popularity_recall": check.popularity_recall,
            "chance_recall": check.chance_recall,
        },
        "timings": {stage: round(seconds, 3) for stage, seconds in result.timings.items()},
        **({"profile": result.stages.to_dict()} if result.stages.profile else {}),
        "notes": list(result.notes),
        "files": {name: str(path) for name, path in written.items()},
        "recommendations": [
            {result_key(result): key, "items": _items(result, number)} for number, key in enumerate(result.table.keys)
        ],
    }


def result_key(result: RecommendResult) -> str:
    """What the keys of the table are: ``user_id``, or ``item_id`` when it holds similar items."""
    return "item_id" if result.mode == "similar" else "user_id"


def say_notes(result: RecommendResult) -> None:
    """Say on stderr what the user should know: what the scores are made of, what was left out, could not be read."""
    for note in (*result.how, *result.notes):
        output.note(note)
    if result.command == "recommend":
        output.note(f"recommended by {result.method}")


def show(result: RecommendResult, written: dict[str, Path]) -> None:
    """Print a result for a person: what was written and where, or else the first lists."""
    if written:
        output.text(f"{_count(result)} written:")
        for path in written.values():
            output.text(f"  {path}")
        return
    lists = len(result.table.keys)
    shown_items = _SHOWN_ITEMS if lists > 1 else result.table.rows.shape[1]
    for number in range(min(_SHOWN_LISTS, lists)):
        output.show(_heading(result, number), _table(result, number, shown_items))
    if lists > _SHOWN_LISTS:
        output.text(f"These are the first {_SHOWN_LISTS} of {_count(result)}.")
    output.note("nothing was saved: --output DIR writes every list, a report to look at and the facts of the run")


def show_self_check(result: RecommendResult) -> None:
    """Say on stdout how far the recommendations can be trusted, where that could be measured."""
    check = result.self_check
    if check is None:
        return
    output.text(
        f"Self-check: each user's last item was hidden and looked for; it was among the first {check.k} for "
        f"{check.recall:.1%} of {check.users:,} users (95% interval {check.recall_low:.1%} to {check.recall_high:.1%}, "
        f"popularity {check.popularity_recall:.1%}, chance {check.chance_recall:.1%})."
    )


def _count(result: RecommendResult) -> str:
    number = len(result.table.keys)
    if result.mode == "similar":
        return f"similar items of {number:,} item{'s' * (number != 1)}"
    return f"recommendations for {number:,} user{'s' * (number != 1)}"


def _items(result: RecommendResult, number: int) -> list[dict[str, Any]]:
    catalog, table = result.dataset.catalog, result.table
    return [
        {"item_id": catalog.ids[row], "rank": rank, "score": round(float(score), 6), "title": catalog.titles[row]}
        for rank, (row, score) in enumerate(
            zip(table.rows[number].tolist(), table.scores[number], strict=True), start=1
        )
        if row >= 0
    ]


def _heading(result: RecommendResult, number: int) -> Text:
    from rich.text import Text

    catalog, key = result.dataset.catalog, result.table.keys[number]
    if result.mode == "similar":
        return Text.assemble(
            ("Like ", "bold"), (output.clean(key), "bold"), f": {output.clean(catalog.titles[catalog.row(key)])}"
        )
    recent = [output.clean(catalog.titles[row]) for row in result.table.histories[number].tolist()[::-1]]
    shown = " · ".join(recent[:_HISTORY_TITLES]) + (" ..." if len(recent) > _HISTORY_TITLES else "")
    return Text.assemble(
        ("For this history" if result.mode == "history" else f"For {output.clean(key)}", "bold"),
        f", latest first: {shown}",
    )


def _table(result: RecommendResult, number: int, shown_items: int) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("rank", justify="right")
    table.add_column("item_id", no_wrap=True)
    table.add_column("title")
    table.add_column("score", justify="right")
    for item in _items(result, number)[:shown_items]:
        table.add_row(
            str(item["rank"]), output.clean(item["item_id"]), output.clean(item["title"]), f"{item['score']:.3f}"
        )
    return table
