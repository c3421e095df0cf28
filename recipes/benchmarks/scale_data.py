#!/usr/bin/env python3
"""A large data set that looks like a shop's, made from a seed: the input of the benchmarks of scale.

    python recipes/benchmarks/scale_data.py --items 1000000 --interactions 10000000 --output /tmp/shop

Writes `items` and `interactions` as parquet or CSV, a block at a time: memory is flat, whatever the size. The same
arguments give the same rows, and the items are the same whatever the interactions.

What is realistic: lengths of titles, descriptions and histories are log-normal; words, categories and items are drawn
by Zipf's law; words are English ones that the bundled static encoder knows. What can be learnt: a category has its own
words, items of one series share a brand and words, users stay in a few categories, and the next item often is a
neighbour of the last one. About a minute for 10^6 items and 10^7 interactions on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv, parquet

from adapt import files

Format = Literal["parquet", "csv"]
Ints = NDArray[np.int64]

ITEM_BLOCK = 1 << 15  # items at a time; part of what a seed means
USER_BLOCK = 1 << 16  # users at a time, sorted by time together: a log of many users, as a shop writes it
CATEGORIES, SLOTS = 240, 4096  # item `i` is in the category of slot `i % SLOTS`
SERIES = 8  # neighbours in a category that share a brand and words
TOPIC_WORDS, SERIES_WORDS = 80, 6
TABLE = 1 << 18  # steps of a tabulated distribution
YEAR = 365 * 86_400
START = 1_577_836_800  # 2020-01-01
SCATTER = 2_654_435_761  # a prime above every number of items: n -> n * SCATTER + b is a permutation of them
MASK = (1 << 40) - 1
_BASE36 = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", np.uint8)


def main() -> int:
    """Make the data set and say how long that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--interactions", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, help="default: a tenth of the interactions")
    parser.add_argument("--format", choices=["parquet", "csv"], default="parquet")
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    users = max(1, arguments.interactions // 10) if arguments.users is None else arguments.users
    if arguments.items < 1 or arguments.interactions < 0 or not 1 <= users <= max(1, arguments.interactions):
        parser.error("expected at least one item, and between 1 and --interactions users")
    start = time.perf_counter()
    make(
        arguments.output,
        items=arguments.items,
        interactions=arguments.interactions,
        users=users,
        form=arguments.format,
        seed=arguments.seed,
    )
    sizes = {path.name: path.stat().st_size for path in sorted(arguments.output.iterdir())}
    print(f"made {arguments.output} in {time.perf_counter() - start:.1f} s", file=sys.stderr)
    print(json.dumps({"items": arguments.items, "interactions": arguments.interactions, "users": users, **sizes}))
    return 0


def make(
    folder: Path, *, items: int, interactions: int, users: int | None = None, form: Format = "parquet", seed: int = 0
) -> None:
    """Write a data set.

    Args:
        folder: a new one.
        items, interactions: how many rows of each; no file of interactions for 0.
        users: how many; None: a tenth of the interactions.
        form: of both files.
        seed: of every draw.
    """
    shop = Shop(items, seed)
    with files.atomic_folder(folder) as building:
        _write(building / f"items.{form}", shop.items(), "needed")
        if interactions:
            events = shop.interactions(interactions, max(1, interactions // 10) if users is None else users)
            _write(building / f"interactions.{form}", events, "none")


def _write(path: Path, tables: Iterator[pa.Table], quotes: str) -> None:
    """Tables of one schema, one after another, as parquet or CSV by the suffix; ``quotes``: around texts in CSV."""
    first = next(tables)
    with path.open("wb") as handle:
        writer: Any
        if path.suffix == ".parquet":
            writer = parquet.ParquetWriter(handle, first.schema, compression="zstd")
        else:
            handle.write((",".join(first.column_names) + "\n").encode())  # pyarrow would quote the names
            options = csv.WriteOptions(include_header=False, quoting_style=quotes)
            writer = csv.CSVWriter(handle, first.schema, write_options=options)
        with writer:
            for table in chain([first], tables):
                writer.write_table(table)


@dataclass(frozen=True)
class Shop:
    """What the rows are drawn from.

    Args:
        count: number of items.
        seed: of every draw.
    """

    count: int
    seed: int

    @cached_property
    def words(self) -> pa.Array:
        """Each word as it stands in a text: plain, before a comma, at the end, at the start and as a whole sentence."""
        plain = pa.array(vocabulary())
        capital = pc.utf8_capitalize(plain)
        forms = [plain, _joined(plain, ","), _joined(plain, "."), capital, _joined(capital, ".")]
        return pa.concat_arrays(forms)

    @cached_property
    def slots(self) -> Ints:
        """(SLOTS,): the category of each slot; sizes of categories follow Zipf's law, none is empty."""
        sizes = zipf(CATEGORIES, 0.8)
        drawn = np.searchsorted(np.cumsum(sizes), self._random("slots").random(SLOTS - CATEGORIES))
        slots = np.concatenate([np.arange(CATEGORIES), np.minimum(drawn, CATEGORIES - 1)])
        return np.asarray(self._random("places").permutation(slots), np.int64)

    @cached_property
    def members(self) -> list[Ints]:
        """Category -> its slots below the number of items."""
        used = self.slots[: self.count]
        return [np.flatnonzero(used == category) for category in range(CATEGORIES)]

    @cached_property
    def sizes(self) -> Ints:
        """(CATEGORIES,): how many items each category has."""
        whole, rest = divmod(self.count, SLOTS)
        per_slot = whole + (np.arange(SLOTS) < rest)
        return np.bincount(self.slots, per_slot, CATEGORIES).astype(np.int64)

    @cached_property
    def topics(self) -> Ints:
        """(CATEGORIES, TOPIC_WORDS): the words of each category, none of them among the most frequent of all."""
        words = len(self.words) // 5
        return self._random("topics").integers(150, words, (CATEGORIES, TOPIC_WORDS))

    @cached_property
    def common(self) -> Ints:
        """(TABLE,): words, each as often as it is frequent."""
        return tabulate(zipf(len(self.words) // 5, 1.05))

    def place(self, items: Ints) -> tuple[Ints, Ints]:
        """The category of each item and its number within it."""
        slot = items % SLOTS
        category = self.slots[slot]
        width = np.array([len(found) for found in self.members])
        inside = np.zeros(SLOTS, np.int64)
        for found in self.members:
            inside[found] = np.arange(len(found))
        return category, items // SLOTS * width[category] + inside[slot]

    def item(self, category: Ints, number: Ints) -> Ints:
        """The item with a number within its category; the inverse of :meth:`place`."""
        width = np.array([len(found) for found in self.members])
        starts = np.concatenate([[0], np.cumsum(width)])
        slots = np.concatenate(self.members)
        of = width[category]
        return number // of * SLOTS + slots[starts[category] + number % of]

    def items(self) -> Iterator[pa.Table]:
        """The rows of items, a block at a time."""
        for start in range(0, self.count, ITEM_BLOCK):
            numbers = np.arange(start, min(start + ITEM_BLOCK, self.count))
            yield self._items(numbers, self._random("items", start))

    def _items(self, numbers: Ints, random: np.random.Generator) -> pa.Table:
        count = len(numbers)
        category, place = self.place(numbers)
        series = mixed(category * (1 << 32) + place // SERIES)
        vocabulary_size = len(self.words) // 5
        brand = np.minimum(series % 4096, (series >> 20) % 4096)  # a few brands are everywhere, most are small
        brands = pc.utf8_capitalize(self.words.take(pa.array(mixed(brand) % vocabulary_size)))
        titles = lengths(random, count, median=7, sigma=0.45, least=2, most=40)
        described = np.where(random.random(count) < 0.85, lengths(random, count, 55, 0.8, 5, 600), 0)
        title_words = self._draw(random, category, series, titles)
        body_words = self._draw(random, category, series, described)
        leaf = self.words.take(pa.array(self.topics[category, 0]))
        kind = self.words.take(pa.array(self.topics[category % 20, 1]))
        path = pc.binary_join_element_wise(*(pc.utf8_capitalize(part) for part in (kind, leaf)), "|")
        price = np.round(np.exp(random.normal(3.0, 1.0, count) + (category % 7) / 4), 2)
        return pa.table(
            {
                "item_id": item_ids(numbers),
                "title": pc.utf8_title(sentences(self.words, title_words, titles)),
                "brand": pc.if_else(pa.array(random.random(count) < 0.9), brands, ""),
                "category": path,
                "description": self._prose(random, body_words, described),
                "price": price,
            }
        )

    def _draw(self, random: np.random.Generator, category: Ints, series: Ints, widths: Ints) -> Ints:
        """Words for texts of the given numbers of words: of the language, of the category and of the series."""
        total = int(widths.sum())
        row = np.repeat(np.arange(len(widths)), widths)
        drawn = self.common[random.integers(0, TABLE, total)]
        of_topic = self.topics[category[row], (TOPIC_WORDS * random.random(total, np.float32) ** 2).astype(np.int64)]
        own = series[row] + random.integers(0, SERIES_WORDS, total)
        of_series = self.topics[category[row], mixed(own) % TOPIC_WORDS]
        source = random.random(total, np.float32)
        return np.where(source < 0.5, drawn, np.where(source < 0.8, of_topic, of_series))

    def _prose(self, random: np.random.Generator, words: Ints, widths: Ints) -> pa.Array:
        """Sentences: capitals at the start, commas, a full stop at the end."""
        chance = random.random(len(words), np.float32)
        ends = chance < 1 / 14
        ends[np.cumsum(widths)[widths > 0] - 1] = True
        starts = np.concatenate([[True], ends[:-1]])[: len(words)]
        commas = (chance > 0.93) & ~ends & ~starts
        form = np.where(starts, np.where(ends, 4, 3), np.where(ends, 2, commas.astype(np.int64)))
        return sentences(self.words, words + form * (len(self.words) // 5), widths)

    def interactions(self, count: int, users: int) -> Iterator[pa.Table]:
        """The rows of interactions, those of a block of users at a time, in the order of time within the block."""
        for start in range(0, users, USER_BLOCK):
            stop = min(start + USER_BLOCK, users)
            share = count * stop // users - count * start // users
            yield self._events(np.arange(start, stop), share, self._random("users", start))

    def _events(self, users: Ints, count: int, random: np.random.Generator) -> pa.Table:
        widths = history_lengths(random, len(users), count)
        user = np.repeat(np.arange(len(users)), widths)
        order = np.arange(count) - np.repeat(np.cumsum(widths) - widths, widths)  # place in the own history
        likes = tabulate(self.sizes / self.sizes.sum())[random.integers(0, TABLE, (len(users), 3))]
        which = np.minimum(random.integers(0, 6, count) // 2, random.integers(0, 3, count))
        category = np.where(
            random.random(count) < 0.85, likes[user, which], likes[random.integers(0, len(users), count), 0]
        )
        number = self._popular(random, category)
        follows = (order > 0) & (random.random(count) < 0.35)
        before = np.maximum(np.arange(count) - 1, 0)
        step = random.integers(1, 4, count)
        category = np.where(follows, category[before], category)
        number = np.where(follows, (number[before] + step) % self.sizes[category], number)
        began = START + random.integers(0, 3 * YEAR, len(users))
        gaps = np.maximum(1, np.exp(random.normal(10.5, 1.5, count))).astype(
            np.int64
        )  # ten hours, from minutes to months
        passed = np.cumsum(gaps)
        when = began[user] + passed - np.repeat(passed[np.cumsum(widths) - widths], widths)
        rating = np.minimum(5, 1 + random.poisson(3.2, count)).astype(np.int8)
        sorted_rows = np.argsort(when, kind="stable")
        numbers = users[user][sorted_rows]
        return pa.table(
            {
                "user_id": spelled(b"U", mixed(numbers) & MASK),
                "item_id": item_ids(self.item(category, number)[sorted_rows]),
                "timestamp": when[sorted_rows],
                "rating": rating[sorted_rows],
            }
        )

    def _popular(self, random: np.random.Generator, category: Ints) -> Ints:
        """A number within each category by Zipf's law (a log-uniform rank); which numbers are popular is scattered."""
        size = self.sizes[category]
        rank = np.expm1(random.random(len(category)) * np.log1p(size * 1.0))  # inverse of a log-uniform law
        rank = np.minimum(rank, size - 1).astype(np.int64)
        return (rank * SCATTER + mixed(category)) % size

    def _random(self, purpose: str, block: int = 0) -> np.random.Generator:
        return np.random.default_rng([self.seed, int.from_bytes(purpose.encode(), "big"), block])


def vocabulary() -> list[str]:
    """The English words of the bundled static encoder, the frequent ones first."""
    path = files.bundled("pretrained") / "static-minilm-256" / "tokenizer.json"
    known: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"]
    return [
        word for word in sorted(known, key=known.__getitem__) if len(word) > 2 and word.isascii() and word.isalpha()
    ]


def zipf(count: int, exponent: float) -> NDArray[np.float64]:
    """(count,) probabilities that fall by a power of the rank."""
    weights = np.arange(1, count + 1) ** -exponent
    return np.asarray(weights / weights.sum())


def tabulate(probabilities: NDArray[np.float64]) -> Ints:
    """(TABLE,) numbers, each in proportion to its probability: a uniform draw from it costs one look-up."""
    steps = (np.arange(TABLE) + 0.5) / TABLE
    found = np.searchsorted(np.cumsum(probabilities), steps)
    return np.minimum(found, len(probabilities) - 1)


def lengths(random: np.random.Generator, count: int, median: float, sigma: float, least: int, most: int) -> Ints:
    """(count,) log-normal numbers within limits."""
    drawn = np.exp(random.normal(np.log(median), sigma, count))
    return np.clip(np.rint(drawn), least, most).astype(np.int64)


def history_lengths(random: np.random.Generator, users: int, total: int) -> Ints:
    """(users,) log-normal lengths of at least 1 that add up to ``total``."""
    weights = np.exp(random.normal(0.0, 1.0, users))
    shares = np.cumsum(weights) / weights.sum() * (total - users)
    return 1 + np.diff(np.rint(shares).astype(np.int64), prepend=0)


def mixed(numbers: Ints) -> Ints:
    """Numbers made to look random, each to its own below 2^40: an odd factor and shifts can be undone."""
    values = numbers.astype(np.uint64)
    values = (values * np.uint64(0x9E3779B97F4A7C15)) & np.uint64(MASK)
    values ^= values >> np.uint64(20)
    values = (values * np.uint64(0xD1B54A32D192ED03)) & np.uint64(MASK)
    return (values ^ (values >> np.uint64(20))).astype(np.int64)


def item_ids(numbers: Ints) -> pa.Array:
    """Ids that look like those of a shop, in no order."""
    return spelled(b"B0", mixed(numbers))


def spelled(prefix: bytes, numbers: Ints) -> pa.Array:
    """A prefix and eight characters, as enough for 2^40 in base 36."""
    width = len(prefix) + 8
    letters = np.empty((len(numbers), width), np.uint8)
    letters[:, : len(prefix)] = np.frombuffer(prefix, np.uint8)
    rest = numbers.copy()
    for place in range(width - 1, len(prefix) - 1, -1):
        rest, digit = np.divmod(rest, 36)
        letters[:, place] = _BASE36[digit]
    offsets = np.arange(0, letters.size + 1, width, dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(numbers), [None, pa.py_buffer(offsets), pa.py_buffer(letters)])


def sentences(words: pa.Array, chosen: Ints, widths: Ints) -> pa.Array:
    """Texts of the chosen words, as many a text as ``widths`` says."""
    offsets = pa.array(np.concatenate([[0], np.cumsum(widths)]), pa.int32())
    return pc.binary_join(pa.ListArray.from_arrays(offsets, words.take(pa.array(chosen))), " ")


def _joined(words: pa.Array, end: str) -> pa.Array:
    return pc.binary_join_element_wise(words, end, "")


if __name__ == "__main__":
    sys.exit(main())
