"""What to ship, in words that follow from the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adapt.evaluate.significance import Interval, paired_bootstrap

Group = Literal["baseline", "untrained", "trained", "control"]
"""A simple baseline; a method of ours without or with gradient steps; or one of these without what pretraining learned,
which is there to be compared with."""

FEWEST_USERS = 30
"""With fewer users than this an interval says little, whatever it says."""

LARGEST_RISK = 0.2
"""A simple method is recommended in place of the best one only if it is surely not worse by more than this share."""


@dataclass(frozen=True, eq=False)
class Scores:
    """What one method reached.

    Attributes:
        name: of the method, for example ``"few-shot"``.
        group: see :data:`Group`.
        values: float64 (users,) the deciding metric of each user; the same users for every method.
    """

    name: str
    group: Group
    values: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """Over users."""
        return float(self.values.mean())


@dataclass(frozen=True)
class Difference:
    """One method against another over the same users.

    Attributes:
        ours, theirs: names of the methods.
        interval: of the mean of ``ours - theirs``, paired.
        base: mean of ``theirs``.
    """

    ours: str
    theirs: str
    interval: Interval
    base: float

    @property
    def significant(self) -> bool:
        """Whether the interval excludes zero."""
        return self.interval.excludes_zero

    @property
    def sign(self) -> int:
        """1 or -1 where the difference is significant, else 0."""
        return (1 if self.interval.mean > 0 else -1) if self.significant else 0

    def words(self) -> str:
        """Relative to ``theirs`` in per cent with the 95 % interval; absolute where ``theirs`` found nothing.

        >>> Difference("a", "b", Interval(0.02, 0.01, 0.03, 0.95, 40), 0.1).words()
        '+20 %, 95 % +10 to +30'
        """
        found = self.interval
        if self.base <= 0:
            return f"{found.mean:+.4f}, 95 % {found.low:+.4f} to {found.high:+.4f}"
        mean, low, high = (_percent(value / self.base) for value in (found.mean, found.low, found.high))
        return f"{mean} %, 95 % {low} to {high}"


@dataclass(frozen=True)
class Verdict:
    """What to ship.

    Attributes:
        tone: ``"good"``: a method of ours, ``"mixed"``: a baseline is enough, ``"unknown"``: the data do not tell.
        ship: name of the method to use; None when there is no reason to prefer one.
        headline: one line; says so when pretraining does not help.
        sentences: the reasons.
    """

    tone: Literal["good", "mixed", "unknown"]
    ship: str | None
    headline: str
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join((self.headline, *self.sentences))


@dataclass(frozen=True)
class Transfer:
    """A pretrained method beside the same without what pretraining learned, at one share of the histories.

    Attributes:
        fraction: of the training users, from 0 to 1.
        difference: pretrained against the other one.
        isolated: whether the two differ by nothing but pretraining; only then does the headline speak of it.
    """

    fraction: float
    difference: Difference
    isolated: bool = True

    @property
    def outcome(self) -> str:
        """``"helps"``, ``"hurts"`` or ``"no significant difference"``."""
        return {1: "helps", -1: "hurts", 0: "no significant difference"}[self.difference.sign]


def compare(ours: Scores, theirs: Scores, seed: int = 0) -> Difference:
    """The paired difference of two methods."""
    return Difference(ours.name, theirs.name, paired_bootstrap(ours.values, theirs.values, seed=seed), theirs.mean)


def judge(scores: Sequence[Scores], metric: str, transfers: Sequence[Transfer] = (), seed: int = 0) -> Verdict:
    """The simplest method that is not significantly worse than the best one.

    Args:
        scores: of every method, the simplest first; controls are not shipped unless there is nothing else.
        metric: what the values are, for the words: ``"NDCG@10"``.
        transfers: what pretraining changed; where it does not help, the headline says so.
        seed: of the bootstrap.
    """
    controls = [found for found in scores if found.group == "control"]
    if len(controls) < len(scores):
        scores = [found for found in scores if found.group != "control"]
    best = max(scores, key=lambda found: found.mean)
    users = len(best.values)
    if best.mean <= 0:
        headline = f"Too little data to tell: no method found one of the {users:,} hidden items among the first places."
        return _with_transfer(Verdict("unknown", None, headline, ()), transfers)
    if len(scores) == 1:
        headline = f"Only {best.name} was evaluated ({metric} {best.mean:.4f}): there is nothing to choose it from."
        return _with_transfer(Verdict("unknown", None, headline, ()), transfers)
    against = {found.name: compare(found, best, seed) for found in scores}
    chosen = next(found for found in scores if found is best or against[found.name].interval.high >= 0)
    risk = max(0.0, -against[chosen.name].interval.low / best.mean)
    if users < FEWEST_USERS or risk > LARGEST_RISK:
        return _with_transfer(_too_little(scores, best, chosen, against, metric), transfers)
    baselines = [found for found in scores if found.group == "baseline"]
    if chosen.group == "baseline":
        verdict = _ship_baseline(scores, chosen, best, metric, seed)
    else:
        rival = max(baselines, key=lambda found: found.mean) if baselines else None
        verdict = _ship_ours(scores, chosen, rival, metric, seed)
    better = [found for found in (compare(other, chosen, seed) for other in controls) if found.sign > 0]
    return _with_transfer(_with_controls(verdict, better), transfers)


def _ship_ours(scores: Sequence[Scores], chosen: Scores, rival: Scores | None, metric: str, seed: int) -> Verdict:
    over = f" {metric} {chosen.mean:.4f}, no baseline was evaluated"
    if rival is not None:
        found = compare(chosen, rival, seed)
        doubt = "" if found.significant else ", not significant"
        over = f" {_gain(found, metric)} over {rival.name} ({_interval(found)}{doubt})"
    rest = [
        _addition(compare(other, chosen, seed)) for other in scores[_place(scores, chosen) + 1 :] if other is not rival
    ]
    headline = f"Ship {chosen.name}:{over}" + "".join(f"; {part}" for part in rest if part) + "."
    simpler = [compare(other, chosen, seed) for other in scores[: _place(scores, chosen)] if other.group != "baseline"]
    reason = f"It is the simplest method that is not significantly worse than the best on {metric}."
    below = [f"{found.ours} is {found.words()} against it." for found in simpler]
    return Verdict("good", chosen.name, headline, (reason, *below))


def _ship_baseline(scores: Sequence[Scores], chosen: Scores, best: Scores, metric: str, seed: int) -> Verdict:
    ours = [found for found in scores if found.group != "baseline"]
    if ours:
        strongest = max(ours, key=lambda found: found.mean)
        found = compare(strongest, chosen, seed)
        how = "is worse" if found.sign < 0 else "is not significantly better"
        why = f"{strongest.name}, the best of the others, {how} on {metric} ({found.words()})"
    else:
        others = [found for found in scores if found is not chosen]
        second = max(others, key=lambda found: found.mean)
        why = f"{_gain(compare(chosen, second, seed), metric)} over {second.name}"
    headline = f"Ship {chosen.name}, a simple baseline: {why}."
    sentences = [f"It is the simplest method that is not significantly worse than the best on {metric}."]
    if best is not chosen:
        sentences.append(f"The best mean is that of {best.name}: {compare(best, chosen, seed).words()} against it.")
    return Verdict("mixed", chosen.name, headline, tuple(sentences))


def _too_little(
    scores: Sequence[Scores], best: Scores, chosen: Scores, against: Mapping[str, Difference], metric: str
) -> Verdict:
    users = len(best.values)
    equal = [found.name for found in scores if found is not best and against[found.name].interval.high >= 0]
    if not equal:
        told = f"{best.name} is ahead of every other method, but {users:,} users are too few to rely on it"
    else:
        first, last = ", ".join(equal[:3]), f" and {len(equal) - 3} more" if len(equal) > 3 else ""
        named = first + last
        told = f"with {users:,} users {named} cannot be told from the best, {best.name} ({metric} {best.mean:.4f})"
    sentences = [f"{best.name} has the best mean; use it until there are more histories, and evaluate again then."]
    if chosen is not best:
        found = against[chosen.name]
        sentences.append(f"The simplest that may be as good is {chosen.name}: {found.words()} against {best.name}.")
    return Verdict("unknown", None, f"Too little data to tell: {told}.", tuple(sentences))


def _with_controls(verdict: Verdict, better: Sequence[Difference]) -> Verdict:
    """Say where the same without pretraining is significantly better than what is shipped."""
    if not better:
        return verdict
    named = "; ".join(f"{found.ours} {found.words()}" for found in better)
    headline = f"{verdict.headline} Better still without the checkpoint ({named}): use --checkpoint training-free."
    return Verdict(verdict.tone, verdict.ship, headline, verdict.sentences)


def _with_transfer(verdict: Verdict, transfers: Sequence[Transfer]) -> Verdict:
    """Say in the headline where pretraining does not help; in sentences where it does, and where nobody can tell."""
    headline, sentences = verdict.headline, list(verdict.sentences)
    if useless := _by_pair(transfers, "useless"):
        headline += f" Pretraining does not help: {'; '.join(useless)}."
    if useful := _by_pair(transfers, "useful"):
        sentences.append(f"Pretraining helps: {'; '.join(useful)}.")
    if unclear := _by_pair(transfers, "unclear"):
        sentences.append(f"Too little data to tell whether pretraining helps: {'; '.join(unclear)}.")
    return Verdict(verdict.tone, verdict.ship, headline, tuple(sentences))


def _use(part: Transfer) -> Literal["useful", "useless", "unclear"]:
    found = part.difference
    if found.sign:
        return "useful" if found.sign > 0 else "useless"
    wide = found.interval.users < FEWEST_USERS or found.interval.high > LARGEST_RISK * found.base
    return "unclear" if wide else "useless"


def _by_pair(transfers: Sequence[Transfer], use: str) -> list[str]:
    """One phrase for each pair of methods: the shares of histories it concerns, and the figures at the largest."""
    phrases = []
    isolated = [part for part in transfers if part.isolated]
    for pair in dict.fromkeys((part.difference.ours, part.difference.theirs) for part in isolated):
        same = [part for part in isolated if (part.difference.ours, part.difference.theirs) == pair]
        chosen = [part for part in same if _use(part) == use]
        if not chosen:
            continue
        largest = max(chosen, key=lambda part: part.fraction)
        shares = ", ".join(f"{100 * part.fraction:g}" for part in chosen)
        where = f" with {shares} % of the histories" if len(same) > 1 or largest.fraction < 1 else ""
        at = f" at {100 * largest.fraction:g} %" if len(chosen) > 1 else ""
        doubt = "" if largest.difference.significant else ", not significant"
        phrases.append(f"{pair[0]} against {pair[1]}{where} ({largest.difference.words()}{at}{doubt})")
    return phrases


def _addition(found: Difference) -> str:
    if found.sign < 0:
        return f"{found.ours} is worse ({found.words()})"
    if found.sign > 0:
        return f"{found.ours} adds {found.words()}"
    return f"{found.ours} adds nothing significant"


def _gain(found: Difference, metric: str) -> str:
    if found.base <= 0:
        return f"{found.interval.mean:+.4f} {metric}"
    return f"{_percent(found.interval.mean / found.base)} % {metric}"


def _interval(found: Difference) -> str:
    return found.words().split(", ", 1)[1]


def _percent(share: float) -> str:
    """A signed number of per cent; one decimal where the first digit matters.

    >>> _percent(0.1834), _percent(-0.0042)
    ('+18', '-0.4')
    """
    value = 100 * share
    return f"{value:+.0f}" if abs(value) >= 9.95 else f"{value:+.1f}"


def _place(scores: Sequence[Scores], chosen: Scores) -> int:
    return next(place for place, found in enumerate(scores) if found is chosen)
