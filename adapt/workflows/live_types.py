"""What goes into a live service and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from adapt.data.columns import ColumnOptions
from adapt.workflows.living_index import SearchOptions


@dataclass(frozen=True)
class LiveOptions:
    """What a service is opened with.

    Attributes:
        index: folder of the index.
        memory: folder of the events and what is needed beside the index; made where there is none.
        dataset: the data set behind the index: its interactions begin the memory, once, and its pictures are shown;
            empty = none.
        tuned_index: folder of an index of a fine-tuned run over the same catalog, offered beside; empty = none.
        checkpoint, run: where the model of the index is, instead of where the index was built from.
        allow_download: whether an encoder may be fetched from the Hub.
        device: where encoders and towers run.
        columns: of the data set.
    """

    index: str
    memory: str = ""
    dataset: str = ""
    tuned_index: str = ""
    checkpoint: str = ""
    run: str = ""
    allow_download: bool = False
    device: str = "cpu"
    columns: ColumnOptions = field(default_factory=ColumnOptions)


@dataclass(frozen=True)
class Ask:
    """One request for recommendations; exactly one of ``history`` and ``user_id`` is given.

    Attributes:
        history: item ids, oldest first.
        user_id: a user of the memory.
        method: one of the service's methods; empty = its default.
        options: what the answer may hold.
        explain: whether each item comes with a reason.
    """

    history: tuple[str, ...] | None = None
    user_id: str | None = None
    method: str = ""
    options: SearchOptions = field(default_factory=SearchOptions)
    explain: bool = False


@dataclass(frozen=True)
class Reason:
    """Why an item stands in a list.

    Attributes:
        text: in plain words.
        because: items of the history that speak for it most, strongest first.
        parts: what each kind of evidence adds to the score.
    """

    text: str
    because: tuple[str, ...] = ()
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RankedItem:
    """One place of a list; ``reason`` is None where none was asked for."""

    item_id: str
    title: str
    score: float
    has_picture: bool
    reason: Reason | None = None


@dataclass(frozen=True)
class Answer:
    """One ranked list.

    Attributes:
        items: best first.
        method: that ranked them.
        generation: of the index.
        unknown: items of the history that the index does not hold; they were not read.
    """

    items: tuple[RankedItem, ...]
    method: str
    generation: str
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class ItemFacts:
    """What the index says of an item."""

    item_id: str
    title: str
    columns: Mapping[str, str]
    has_picture: bool


@dataclass(frozen=True)
class NewItem:
    """An item to be added or replaced.

    Attributes:
        item_id: not empty.
        columns: title, description and whatever else is known, as text.
        picture: an image file's bytes, checked and bounded by the caller; None = no picture.
    """

    item_id: str
    columns: Mapping[str, str]
    picture: bytes | None = None


@dataclass(frozen=True)
class Event:
    """A user met an item; ``timestamp`` is in seconds, None = now."""

    user_id: str
    item_id: str
    timestamp: float | None = None


@dataclass(frozen=True)
class Written:
    """What a write did; it is on disk.

    Attributes:
        added, replaced, removed: items.
        recorded: events.
        items: how many can be found now.
        generation: of the index.
        replayed: whether the key had been seen and nothing was done again.
    """

    added: int = 0
    replaced: int = 0
    removed: int = 0
    recorded: int = 0
    items: int = 0
    generation: str = ""
    replayed: bool = False
