"""How sure to be, in plain words that follow from the numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from adapt.workflows.recommend import RecommendResult
    from adapt.workflows.self_check import SelfCheck

_FEW_USERS = 200  # below this the interval is wider than the differences that matter


@dataclass(frozen=True)
class Verdict:
    """One sentence to remember, how it is coloured, and the sentences that explain it."""

    tone: Literal["good", "mixed", "poor", "unknown"]
    headline: str
    sentences: tuple[str, ...]


def verdict(result: RecommendResult) -> Verdict:
    """What the self-check, or its absence, says about these recommendations."""
    if result.self_check is None:
        return Verdict("unknown", "Not measured: judge by the examples.", _unmeasured(result))
    check = result.self_check
    tone, headline = _compare(check)
    sentences = [
        f"For each of {check.users:,} users the last item was hidden, the rest of the history was given to the same "
        f"scorer, and the hidden item was looked for among the first {check.k} of {result.candidates:,} candidates. "
        f"It was there for {percent(check.recall)} of them.",
        _honesty(result)
        + " People also like items that they did not choose: the share that is useful is higher than the share that is "
        "found.",
    ]
    if check.users < _FEW_USERS:
        sentences.append(
            f"{check.users:,} users are few: the share could as well be anything from {percent(check.recall_low)} "
            f"to {percent(check.recall_high)} (95\u00a0% interval)."
        )
    return Verdict(tone, headline, tuple(sentences))


def _honesty(result: RecommendResult) -> str:
    """What the recommender knew of the hidden items."""
    if result.method == "zero-shot":
        return "Nothing was fitted on these histories, so this is what a new shop can expect on its first day."
    return (
        "The hidden items were taken out of what is remembered of other users; only the few weights between content "
        "and evidence were chosen on events like them."
    )


def index_sentence(result: RecommendResult) -> str:
    """What the search may have missed."""
    index = result.index
    if index.kind == "exact":
        return (
            f"Every one of the {index.count:,} candidates was compared: the search misses nothing (recall 100\u00a0%)."
        )
    if index.recall_measured is None:
        return f"An approximate index over {index.count:,} candidates was used; its recall was not measured."
    queries = f", measured on {index.recall_queries:,} queries" if index.recall_queries else ""
    target = f" (aim {percent(index.recall_target)})" if index.recall_target is not None else ""
    return (
        f"An approximate index over {index.count:,} candidates found {percent(index.recall_measured)} of the items "
        f"that an exact search finds{target}{queries}."
    )


def percent(share: float) -> str:
    """A share as a percentage with as many digits as matter, held together by a no-break space.

    >>> [percent(share).replace("\\xa0", " ") for share in (0.5, 0.0512, 0.00042)]
    ['50 %', '5.1 %', '0.042 %']
    """
    value = 100 * share
    digits = 1 if value >= 1 or value == 0 else 2 if value >= 0.1 else 3
    return f"{value:.{digits}f}".removesuffix(".0") + "\u00a0%"


def _compare(check: SelfCheck) -> tuple[Literal["good", "mixed", "poor"], str]:
    """Against the better of popularity and chance: in a small catalog popularity can be below chance."""
    if check.popularity_recall >= check.chance_recall:
        rival, name = check.popularity_recall, "showing everyone the most popular items"
    else:
        rival, name = check.chance_recall, "a random list, which here beats the most popular items"
    if check.recall <= rival:
        return "poor", f"No better here than {name}."
    if check.recall_low <= rival:
        return "mixed", f"Better here than {name}, but by less than chance could explain."
    return "good", f"Clearly better here than {name}: {check.recall / rival:.1f} times as many hits."


def _unmeasured(result: RecommendResult) -> tuple[str, ...]:
    if result.method in {"fine-tuned", "fused"}:
        return (
            "What was trained on these histories cannot forget one event of them and be asked for it. How often it is "
            "right was measured when it was trained, on events that were held back.",
        )
    reason = (
        "There are no histories, so no item could be hidden and looked for."
        if result.dataset.interactions is None
        else "There are too few histories to hide an item of and to look for it."
    )
    return (
        reason,
        "The lists rest on what the texts and pictures say about the items, read by encoders that have seen much else. "
        "They tend to be sensible where the descriptions are, and they know nothing about taste, price or season.",
        "As soon as ten users have a history of two items or more, this page measures how often the next is found.",
    )
