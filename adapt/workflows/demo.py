"""The main job on the example shop that comes with the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adapt import files
from adapt.data.load import EXAMPLE
from adapt.progress import SILENT, Progress
from adapt.workflows.recommend import RecommendOptions, RecommendResult, zero_shot_run

# Camping items of the example shop: an ad-hoc history whose recommendations anyone can judge.
_EXAMPLE_HISTORY = "CAMP-001,CAMP-004"


@dataclass(frozen=True, eq=False)
class DemoRun:
    """The result, and the commands worth trying next with the purpose of each."""

    result: RecommendResult
    next_steps: tuple[tuple[str, str], ...]


def example_dataset() -> Path:
    """The folder of the example shop."""
    return files.bundled("recipes") / EXAMPLE


def demo(progress: Progress = SILENT) -> DemoRun:
    """Recommend for every user of the example shop with the default checkpoint.

    Args:
        progress: who hears how far it is.
    """
    folder = example_dataset()
    result = zero_shot_run(RecommendOptions(dataset=str(folder)), progress)
    return DemoRun(
        result=result,
        next_steps=(
            (
                f'adapt zero-shot --dataset {EXAMPLE} --history "{_EXAMPLE_HISTORY}"',
                "for someone who is not in the data",
            ),
            ("adapt data check YOUR_FOLDER", "what adapt finds in your own catalog, and what is wrong with it"),
            ("adapt zero-shot --dataset YOUR_FOLDER --output results", "the same for your own catalog"),
        ),
    )
