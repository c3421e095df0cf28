"""Warn where a ratio of the benchmarks is worse than in the last committed results.

    python recipes/benchmarks/guard.py [NEW] [--against OLD] [--tolerance 0.15]

Ratios only: two sides of one run on one machine can be compared with those of another day, seconds can not. NEW is
`results/short.json`, and OLD the committed version of the same file, where nothing is given. A ratio may fall by the
tolerance before it counts as worse, since rounds scatter. Warns and exits with 0: whether it matters is for a person.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from measuring import table
from results import ratios_of, read, read_committed, results_file

TOLERANCE = 0.15
State = Literal["worse", "better", "steady", "missing", "new"]


@dataclass(frozen=True)
class Change:
    """One ratio, then and now.

    Attributes:
        benchmark, what: name it.
        then, now: the ratio; None where it was, or is, not measured.
        state: how they compare.
    """

    benchmark: str
    what: str
    then: float | None
    now: float | None
    state: State

    @property
    def change(self) -> float | None:
        """As a part of the ratio then."""
        return self.now / self.then - 1 if self.now is not None and self.then else None


def compare(old: Mapping[str, Any], new: Mapping[str, Any], tolerance: float = TOLERANCE) -> list[Change]:
    """Every ratio of two results, those of the old ones first.

    More is better, except for a ratio that promises to be at most something.

    Args:
        old, new: results files.
        tolerance: how much of a ratio may change before it counts, between 0 and 1.
    """
    before, after = ratios_of(old), ratios_of(new)
    changes = []
    for key in before | after:
        then = before[key]["ratio"] if key in before else None
        now = after[key]["ratio"] if key in after else None
        lower = "at_most" in (after[key] if key in after else before[key])
        changes.append(Change(*key, then, now, _state(then, now, tolerance, lower)))
    return changes


def _state(then: float | None, now: float | None, tolerance: float, lower_is_better: bool) -> State:
    if then is None:
        return "new"
    if now is None:
        return "missing"
    gain = then / now if lower_is_better else now / then
    if gain < 1 - tolerance:
        return "worse"
    return "better" if gain > 1 / (1 - tolerance) else "steady"


def told(old: Mapping[str, Any], new: Mapping[str, Any], tolerance: float = TOLERANCE) -> str:
    """The comparison in words and as a table."""
    changes = compare(old, new, tolerance)
    lines = [f"Ratios against the results of {old.get('date', '?')} ({old.get('commit', '?')}); a change of more than"]
    lines[0] += f" {tolerance:.0%} counts."
    if old.get("machine") != new.get("machine"):
        lines.append(f"Those were taken on another machine ({old.get('machine')}): some ratios differ for that alone.")
    if changes:
        lines += ["", table([_row(change) for change in changes]), ""]
    counts = {state: sum(change.state == state for change in changes) for state in ("worse", "missing")}
    if counts["worse"]:
        lines.append(f"WARNING: {counts['worse']} worse than before.")
    if counts["missing"]:
        lines.append(f"WARNING: {counts['missing']} measured before and not now.")
    if not any(counts.values()):
        lines.append("Nothing is worse than before.")
    return "\n".join(lines)


def _row(change: Change) -> dict[str, object]:
    moved = change.change
    return {
        "benchmark": change.benchmark,
        "ratio of": change.what,
        "then": "-" if change.then is None else f"{change.then:.2f}",
        "now": "-" if change.now is None else f"{change.now:.2f}",
        "change": "-" if moved is None else f"{moved:+.0%}",
        "": change.state.upper() if change.state in ("worse", "missing") else change.state,
    }


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("new", type=Path, nargs="?", default=results_file(full=False))
    parser.add_argument("--against", type=Path, help="older results; default: the committed version of NEW")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE)
    arguments = parser.parse_args()
    new = read(arguments.new)
    if new is None:
        parser.error(f"expected results in {arguments.new}, found no file: `make bench` writes them")
    old = read(arguments.against) if arguments.against else read_committed(arguments.new)
    if old is None:
        print("There are no older results to compare with.")
        return
    print(told(old, new, arguments.tolerance))


if __name__ == "__main__":
    main()
