"""Write the ratios of the results file into the README, or check that they are there.

    python recipes/benchmarks/readme_ratios.py [--check]

A part of the README between two marks is made from `results/short.json` and from nothing else; a test runs the check.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from results import ROOT, ratios_of, read, results_file

from adapt.hub.card import markdown_table

README = ROOT / "README.md"
BEGIN, END = "<!-- ratios: made by recipes/benchmarks/readme_ratios.py -->", "<!-- end of ratios -->"


def section(results: Mapping[str, Any] | None) -> str:
    """The part of the README: a table of ratios with their bars, and what was measured where."""
    if results is None:
        return "`make bench` measures them on your machine."
    rows = []
    for ratio in ratios_of(results).values():
        bar = f"{ratio['at_least']:g}" if "at_least" in ratio else ""
        if "at_most" in ratio:
            bar = f"at most {ratio['at_most']:g}"
        low, high = ratio.get("quartiles", (None, None))
        spread = "" if low is None else f" ({low:.2f} to {high:.2f})"
        missed = "" if ratio.get("met", True) else ", missed"
        rows.append([ratio["what"], f"{ratio['ratio']:.2f}{spread}", bar + missed])
    gaps = [
        f"{rival} ({line['benchmark']})" for line in results["benchmarks"] for rival in line.get("not_measured", ())
    ]
    words = f"`make bench`, {results['machine']}, {results['date'][:10]}, commit {results['commit']}."
    if gaps:
        words += f" Not measured: {', '.join(gaps)}."
    return markdown_table(["ratio", "median (quartiles)", "promised"], rows) + "\n\n" + words


def with_section(readme: str, results: Mapping[str, Any] | None) -> str:
    """The README with that part made anew.

    Raises:
        ValueError: it lacks the marks.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected the lines {BEGIN} and {END}, found no such part")
    return f"{before}{BEGIN}\n\n{section(results)}\n\n{END}{after}"


def main() -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 where the README says something else")
    check = parser.parse_args().check
    text = README.read_text(encoding="utf-8")
    wanted = with_section(text, read(results_file(full=False)))
    if wanted == text:
        return 0
    if check:
        print("The README's ratios are not those of results/short.json: run recipes/benchmarks/readme_ratios.py")
        return 1
    README.write_text(wanted, encoding="utf-8")
    print(f"{README} has the ratios of {results_file(full=False).name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
