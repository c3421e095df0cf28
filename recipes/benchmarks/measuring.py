"""What the benchmarks share: sides that take turns, ratios with their bars, extra memory, and one line of JSON."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapt.machine import return_memory

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
Clock = Callable[[], float]


@dataclass(frozen=True)
class Ratio:
    """How many times as good this library is as what a user would take instead.

    Attributes:
        what: names both, and the size of the work; the guard compares ratios of the same name.
        ratio: above 1, this library is better.
        low, high: quartiles over rounds.
        at_least: what is promised; None where nothing is.
    """

    what: str
    ratio: float
    low: float
    high: float
    at_least: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        found: dict[str, Any] = {
            "what": self.what,
            "ratio": round(self.ratio, 3),
            "quartiles": [round(self.low, 3), round(self.high, 3)],
        }
        if self.at_least is not None:
            found |= {"at_least": self.at_least, "met": self.ratio >= self.at_least}
        return found


def take_turns(
    runs: Mapping[str, Callable[[], object]], rounds: int, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each run in each round; every round lets all of them run, another one first.

    What else the machine does then meets all alike. A round before the first warms up and does not count.

    Args:
        runs: name -> work.
        rounds: that count, at least one.
        clock: seconds by the clock, or ``time.process_time`` for work of one thread.
    """
    names = list(runs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            started = clock()
            runs[name]()
            seconds[name].append(clock() - started)
    return {name: values[1:] for name, values in seconds.items()}


def ratio_of(
    what: str,
    theirs: Sequence[float],
    ours: Sequence[float],
    at_least: float | None = None,
    work: float = 1.0,
) -> Ratio:
    """The median over rounds of their seconds to ours.

    Args:
        what: see :class:`Ratio`.
        theirs, ours: seconds of the same rounds.
        at_least: what is promised.
        work: how many times theirs our side did in its seconds.

    >>> ratio_of("search", [2.0, 4.0, 9.0], [1.0, 2.0, 3.0]).ratio
    2.0
    """
    found = sorted(work * their / our for their, our in zip(theirs, ours, strict=True))
    low, _, high = statistics.quantiles(found, n=4, method="inclusive") if len(found) > 1 else found * 3
    return Ratio(what, statistics.median(found), low, high, at_least)


def extra_memory(run: Callable[[], object]) -> float | None:
    """Megabytes that are resident at the peak of ``run`` beyond those before it; None where the system does not say.

    The peak is that of the whole process, so nothing else may run in it.
    """
    if not _CLEAR.exists():
        return None
    return_memory()
    before = _resident("VmRSS")
    _CLEAR.write_text("5")  # the peak starts again at what is resident now: proc(5)
    run()
    return max(0.0, _resident("VmHWM") - before)


def _resident(field: str) -> float:
    lines = _STATUS.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":")) / 1024


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows under the names of the first one's cells, numbers to the right.

    >>> print(table([{"what": "a", "n": 1}, {"what": "bcd", "n": 20}]))
    what   n
    a      1
    bcd   20
    """
    names = list(rows[0])
    cells = [names, *[[_shown(row.get(name, "")) for name in names] for row in rows]]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    right = [all(not isinstance(row.get(name), str) for row in rows) for name in names]
    lines = [
        "  ".join(
            cell.rjust(width) if aside else cell.ljust(width)
            for cell, width, aside in zip(line, widths, right, strict=True)
        )
        for line in cells
    ]
    return "\n".join(line.rstrip() for line in lines)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else "-" if value is None else str(value)


def report(
    benchmark: str,
    ratios: Sequence[Ratio],
    rows: Sequence[Mapping[str, object]],
    not_measured: Mapping[str, str] | None = None,
    **facts: object,
) -> None:
    """Print the tables, what was not measured and why, and one line of JSON last.

    Args:
        benchmark: its name.
        ratios: what the guard and the README read.
        rows: what each side took.
        not_measured: rival -> why.
        facts: more for the line of JSON.
    """
    print(table(rows))
    print()
    print(table([_line(ratio) for ratio in ratios]))
    for rival, why in (not_measured or {}).items():
        print(f"{rival} was not measured: {why}")
    line = {"ratios": [ratio.to_dict() for ratio in ratios], "rows": [dict(row) for row in rows]}
    print(json.dumps({"benchmark": benchmark, **facts, **line, "not_measured": dict(not_measured or {})}), flush=True)


def _line(ratio: Ratio) -> dict[str, object]:
    promised = "" if ratio.at_least is None else f"at least {ratio.at_least:g}"
    met = "" if ratio.at_least is None else "met" if ratio.ratio >= ratio.at_least else "MISSED"
    spread = f"{ratio.low:.2f} to {ratio.high:.2f}"
    return {"ratio of": ratio.what, "median": f"{ratio.ratio:.2f}", "quartiles": spread, "bar": promised, "": met}
