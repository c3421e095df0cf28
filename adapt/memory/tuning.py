"""How much each channel should weigh: chosen on events of the data set that are held back, a channel at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from adapt.evaluate.metrics import MISS, gains_at_k, rank_of_target
from adapt.memory.fusion import POPULARITY, Channels, Fusion, standardised

CERTAINTY, CERTAINTY_OF_FEW, MANY_EVENTS = 1.5, 2.0, 2_000
"""Standard errors that a change must gain to be made, with many held-back events and with fewer: the best of several
changes gains something by chance alone, and the fewer the events the more."""

FEWEST_EVENTS = 50

MOST_POPULARITY = 1.0
"""Largest weight of popularity. Held-back events lie in the past, for which what is popular today is known too well: on
every source data set a larger weight that they preferred was lost again on the events after them."""

_DEPTH = 100
_ROUNDS = 4
_FACTORS = (0.5, 0.7, 1.4, 2.0, 0.0)
_ENTRIES = (0.1, 0.3, 1.0)


@dataclass(frozen=True, eq=False)
class CandidateTable:
    """Channels of held-back events, at the item that was chosen and the items that compete with it.

    Attributes:
        values: channel -> float32 (events, width); column 0 is the chosen item.
        valid: bool (events, width).
        misses: bool (events,), the chosen item was no candidate.
    """

    values: Mapping[str, npt.NDArray[np.float32]]
    valid: npt.NDArray[np.bool_]
    misses: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ChannelGain:
    """What a channel is worth on the held-back events.

    Attributes:
        channel: its name.
        weight: that was chosen; 0 = left out.
        gain: of the fusion over the same without the channel (for one left out: 0), in the mean of NDCG at 10 and 100.
        error: standard error of ``gain``.
    """

    channel: str
    weight: float
    gain: float
    error: float


@dataclass(frozen=True)
class Tuned:
    """The outcome of a search.

    Attributes:
        fusion: the weights.
        gains: of every channel that was tried.
        events: that were held back.
        content: mean objective of content alone.
        fused: mean objective of the fusion.
        error: standard error of their difference.
    """

    fusion: Fusion
    gains: tuple[ChannelGain, ...]
    events: int
    content: float
    fused: float
    error: float


def candidate_table(
    channels: Channels,
    targets: npt.NDArray[np.integer],
    seen: Sequence[npt.NDArray[np.integer]],
    candidates: npt.NDArray[np.bool_],
    start: Fusion,
) -> CandidateTable:
    """Keep what can come near the top: the best 100 items of each channel and of the fusion to start from.

    Args:
        channels: of n events.
        targets: int (n,), the item that was chosen.
        seen: of each event, items that are no candidates for it.
        candidates: bool (items,).
        start: the fusion to start from.
    """
    events, items = channels.content.shape
    blocked = np.zeros((events, items), bool)
    blocked[:, ~candidates] = True
    blocked[np.repeat(np.arange(events), [len(rows) for rows in seen]), np.concatenate([*seen, []]).astype(int)] = True
    dense: dict[str, npt.NDArray[np.float32]] = {"content": standardised(channels.content, candidates)}
    dense |= {name: standardised(values, candidates) for name, values in channels.dense.items()}
    dense |= {name: votes.toarray() for name, votes in channels.evidence.items()}
    dense[POPULARITY] = np.broadcast_to(channels.popularity, (events, items))
    chosen = np.zeros((events, items), bool)
    depth = min(_DEPTH, items)
    weights = {"content": start.content, **start.weights}
    fused = np.sum([weight * dense[name] for name, weight in weights.items() if name in dense], axis=0)
    for values in (*dense.values(), fused):
        ranked = torch.from_numpy(np.where(blocked, -np.inf, values))
        np.put_along_axis(chosen, ranked.topk(depth, dim=1, sorted=False).indices.numpy(), True, axis=1)
    misses = blocked[np.arange(events), targets]
    chosen &= ~blocked
    chosen[np.arange(events), targets] = False
    width = int(chosen.sum(axis=1).max(initial=0))
    order = np.argsort(~chosen, axis=1, kind="stable")[:, :width]
    columns = np.concatenate([np.asarray(targets, np.int64)[:, None], order], axis=1)
    valid = np.concatenate([np.ones((events, 1), bool), np.take_along_axis(chosen, order, axis=1)], axis=1)
    return CandidateTable(
        {name: np.take_along_axis(values, columns, axis=1) for name, values in dense.items()}, valid, misses
    )


def tune(tables: Sequence[CandidateTable], channels: Sequence[str], start: Fusion | None = None) -> Tuned:
    """Weights by coordinate search from the start: a change stays if it gains clearly more than its standard error.

    The objective is the mean of NDCG at 10 and at 100: the first is what counts, the second is less noisy.

    Args:
        tables: of held-back events; none or few of them leave the start as it is.
        channels: that may get a weight, beside those of the start.
        start: the weights to start from.
    """
    fusion = start or Fusion()
    events = sum(len(table.misses) for table in tables)
    content = _objective(tables, {"content": 1.0}) if events else np.zeros(1)
    weights = {"content": fusion.content, **fusion.weights}
    names = list(dict.fromkeys([*fusion.weights, *channels]))
    if events >= FEWEST_EVENTS:
        _search(tables, weights, names)
    fused = _objective(tables, weights) if events else np.zeros(1)
    gains = []
    for name in names:
        without = _objective(tables, {**weights, name: 0.0}) if events else fused
        gains.append(ChannelGain(name, weights.get(name, 0.0), *_mean_and_error(fused - without)))
    kept = {name: weight for name in names if (weight := weights.get(name, 0.0))}
    return Tuned(
        Fusion(weights=kept, content=weights["content"]),
        tuple(gains),
        events,
        float(content.mean()),
        float(fused.mean()),
        _mean_and_error(fused - content)[1],
    )


def _search(tables: Sequence[CandidateTable], weights: dict[str, float], names: Sequence[str]) -> None:
    """Change ``weights`` in place, a channel at a time, as long as something gains."""
    units = {name: _unit(tables, name) for name in names}
    current = _objective(tables, weights)
    certainty = CERTAINTY if len(current) >= MANY_EVENTS else CERTAINTY_OF_FEW
    for _ in range(_ROUNDS):
        moved = False
        for name in names:
            weight = weights.get(name, 0.0)
            tries = [weight * factor for factor in _FACTORS] if weight else [entry * units[name] for entry in _ENTRIES]
            if name == POPULARITY:
                tries = [min(value, MOST_POPULARITY) for value in tries]
            best: tuple[float, float, npt.NDArray[np.float64]] | None = None
            for value in tries:
                found = _objective(tables, {**weights, name: value})
                gain, error = _mean_and_error(found - current)
                if gain > certainty * error and gain > (best[0] if best else 0.0):
                    best = (gain, value, found)
            if best:
                _, weights[name], current = best
                moved = True
        if not moved:
            return


def _objective(tables: Sequence[CandidateTable], weights: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """float64 (events,): the mean of NDCG at 10 and 100 of each held-back event."""
    found = []
    for table in tables:
        parts = [weight * table.values[name] for name, weight in weights.items() if weight and name in table.values]
        scores = np.where(table.valid, np.sum(parts, axis=0), -np.inf)
        ranks = np.where(table.misses, MISS, rank_of_target(scores, np.zeros(len(scores), np.int64)))
        found.append((gains_at_k(ranks, 10) + gains_at_k(ranks, 100)) / 2)
    return np.concatenate(found)


def _unit(tables: Sequence[CandidateTable], name: str) -> float:
    """The weight at which a channel's root mean square is 1; 0 if it is zero everywhere."""
    squares = [table.values[name][table.valid] ** 2 for table in tables if name in table.values]
    size = float(np.sqrt(np.mean(np.concatenate(squares)))) if squares else 0.0
    return 1 / size if size else 0.0


def _mean_and_error(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    return float(values.mean()), float(values.std() / np.sqrt(len(values)))
