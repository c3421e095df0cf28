"""A new index from a data set and a checkpoint or a fine-tuned run, in a folder that then follows the catalog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapt.config import config
from adapt.data import ColumnOptions, Dataset, load_dataset
from adapt.data.catalog import Catalog
from adapt.errors import DataError, UsageError
from adapt.features.store import Features
from adapt.hub.ref import is_on_hub
from adapt.hub.resolve import locate
from adapt.index.base import THRESHOLD
from adapt.index.calibrate import Choice, Measured, SearchBy, SearchChoice, calibrate
from adapt.index.carry import asked_of, carrying, settle
from adapt.index.description import Description, ModelEntry, PartEntry, new_lineage
from adapt.index.engine import RemoteSettings
from adapt.index.generations import DEFAULT_WAIT, FORMAT_VERSION, Generations, Writer
from adapt.index.graph import HnswSettings
from adapt.index.graphs import graph_key
from adapt.index.quantise import Encoded, Storage, encode
from adapt.index.recall import CALIBRATION_QUERIES
from adapt.index.segments import Items, write_items
from adapt.index.storage import write_deleted
from adapt.index.vectors import DenseVectors, StoredVectors, padded
from adapt.profile import Stages
from adapt.progress import SILENT, Progress
from adapt.seeds import generator
from adapt.workflows import training_free
from adapt.workflows.index_model import (
    FrozenNormalisation,
    IndexModel,
    frozen_from,
    load_model,
    raw_features,
    usable_rows,
)

_STREAM = 0x1DE
KEPT_FROM = 200_000
"""Items from which a graph is kept while it is built, to go on with after a kill."""


@config
class BuildOptions:
    """What `adapt index build` was asked; see its help."""

    dataset: str
    output: str
    checkpoint: str = "adapt-mini"
    run: str = ""
    storage: Storage = "float32"
    index: Choice | RemoteSettings = "auto"
    threshold: int = THRESHOLD
    recall_target: float = 0.99
    seed: int = 0
    threads: int = 1
    wait: float = DEFAULT_WAIT
    device: str = "cpu"
    strict: bool = False
    allow_download: bool = False
    columns: ColumnOptions = field(default_factory=ColumnOptions)
    profile: bool = False


@dataclass(frozen=True)
class ItemsReport:
    """What became of the items of a file.

    Attributes:
        given: items in the file.
        left_out: ids of items without any usable feature.
        failures: (item id, reason) of texts and images that could not be read.
        encoded: modality -> how many were encoded anew; the others came from the cache.
    """

    given: int
    left_out: tuple[str, ...]
    failures: tuple[tuple[str, str], ...]
    encoded: Mapping[str, int]


@dataclass(frozen=True)
class BuildResult:
    """A finished index.

    Attributes:
        path: its folder.
        generation: that it begins with.
        report: what became of the items.
        description: what ``index.json`` holds.
        timings: seconds by stage.
        stages: what each stage took, memory too where that was asked for.
    """

    path: Path
    generation: str
    report: ItemsReport
    description: Description
    timings: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    stages: Stages = field(default_factory=Stages)


def build(options: BuildOptions, progress: Progress = SILENT) -> BuildResult:
    """Build an index over a data set, in a new folder or in place of the index that is there.

    Raises:
        UsageError: an option is out of range, or another process is changing the index.
        OutputError: the folder holds something else or cannot be written.
        DataError: the data set cannot be used, or no item has a usable feature.
        CheckpointError: the checkpoint or the run cannot be had.
        EngineError: the engine that is to search is away or refuses.
    """
    if not 0 < options.recall_target <= 1 or options.threads < 1:
        raise UsageError(
            f"expected a recall target above 0 and at most 1, and threads of at least 1, found {options.recall_target} "
            f"and {options.threads}"
        )
    stages = Stages(options.profile)
    with Generations(options.output).writing(options.wait) as writer:
        with stages.stage("read"):
            dataset = _read(options, progress)
        count = len(dataset.catalog)
        model, entry = _model(options, dataset)
        with stages.stage("encode", count, "items"):
            features = model.encode(dataset.catalog, progress)
        rows = usable_rows(features)
        if not len(rows):
            wanted = " or ".join(model.checkpoint.spec.encoders)
            raise DataError(
                f"expected at least one item with a usable {wanted}, found none among {len(dataset.catalog)} items",
                "`adapt data check` shows what was found; --text-col and --image-col name the columns.",
            )
        given = model.frozen.normalisers if entry.kind == "run" else None
        with stages.stage("normalise", count, "items"):
            model = replace(model, frozen=frozen_from(model.checkpoint, raw_features(features, rows), given))
        with stages.stage("embed", count, "items"):
            items, embeddings = embedded_items(model, dataset.catalog, features, rows, options.storage)
        queries = _queries(model, dataset, items, embeddings, rows, options.seed)
        model = replace(model, frozen=replace(model.frozen, queries=queries))
        remote = options.index if isinstance(options.index, RemoteSettings) else None
        kind: Choice = "auto" if isinstance(options.index, RemoteSettings) else options.index
        choice = SearchChoice(kind, options.recall_target, options.seed, options.threads, options.threshold)
        described = Description(
            format_version=FORMAT_VERSION,
            kind="exact",
            count=len(rows),
            rows=len(rows),
            dim=embeddings.shape[1],
            model=entry,
            parts=(),
            storage=options.storage,
            text_template=dataset.catalog.text_template,
            remote=asked_of(remote, options.output) if remote is not None else None,
        )
        with stages.stage("index", len(rows), "items"):
            description, generation = write_anew(writer, described, model.frozen, items, embeddings, choice, progress)
    report = items_report(dataset.catalog, features, rows)
    return BuildResult(Path(options.output), generation, report, description, stages.seconds, stages)


def encode_share(options: BuildOptions, progress: Progress = SILENT) -> None:
    """What a process beside the main one does of a build: encode its share of the items, for the main one to find.

    Raises:
        DataError, CheckpointError: as :func:`build`.
    """
    dataset = _read(options, progress)
    model, _ = _model(options, dataset)
    model.encode(dataset.catalog, progress)


def _read(options: BuildOptions, progress: Progress) -> Dataset:
    return load_dataset(
        options.dataset,
        columns=options.columns,
        strict=options.strict,
        allow_download=options.allow_download,
        progress=progress,
    )


def write_anew(
    writer: Writer,
    described: Description,
    frozen: FrozenNormalisation | PartEntry,
    items: Items,
    embeddings: NDArray[np.float32] | None,
    choice: SearchChoice,
    progress: Progress,
    queries: NDArray[np.float32] | None = None,
) -> tuple[Description, str]:
    """Commit a generation of one part with nothing deleted, calibrated.

    Args:
        writer: of the index.
        described: all that does not follow from the items.
        frozen: the maps, new or as a part that is there.
        items: to store.
        embeddings: the same in float32, to measure what is lost by storing them in fewer bytes; None = not known.
        choice: how to search.
        progress: told the items indexed.
        queries: like those that will be asked; those of ``frozen`` where that is new.

    Returns:
        What was committed, and its generation.
    """
    if isinstance(frozen, FrozenNormalisation):
        queries = frozen.queries
    described = replace(
        described,
        choice=choice.kind,
        threshold=choice.threshold,
        target=choice.target,
        seed=choice.seed,
        threads=choice.threads,
        count=len(items.ids),
        rows=len(items.ids),
        lineage=new_lineage(),
    )
    with carrying(writer, described, items, progress) as carried:
        engine = carried.search_by if carried is not None else None
        measured = measure(items.embeddings, embeddings, queries, choice, progress, engine)
        part = write_items(writer, items)
        model_part = frozen if isinstance(frozen, PartEntry) else frozen.write(writer)
        description = replace(
            described,
            kind=measured.kind,
            parts=(part, model_part),
            graph=measured.graph,
            recall=measured.recall,
            remote=carried.entry.searching(measured.breadth) if carried is not None else None,
        )
        pointer = writer.commit(description.to_dict(), lambda folder: write_deleted(folder, np.zeros(0, np.int64)))
    settle(writer)
    if measured.built is not None and measured.graph is not None:
        keep_built(measured, [items.embeddings], progress)
    return description, pointer.generation


def measure(
    stored: Encoded,
    embeddings: NDArray[np.float32] | None,
    queries: NDArray[np.float32] | None,
    choice: SearchChoice,
    progress: Progress,
    engine: SearchBy | None = None,
) -> Measured:
    """How the items will be searched; see :func:`adapt.index.calibrate.calibrate`."""
    vectors = StoredVectors([stored], stored.values.shape[1])
    truth = None
    if embeddings is not None and stored.storage != "float32":
        truth = DenseVectors(padded(embeddings, embeddings.shape[1]), len(embeddings))
    kept_as = ""
    if len(stored) >= KEPT_FROM and choice.kind != "exact" and engine is None:
        kept_as = graph_key([stored], len(stored), HnswSettings(seed=choice.seed, threads=choice.threads))
    alive = np.ones(len(stored), bool)
    return calibrate(vectors, alive, queries, choice, truth=truth, engine=engine, kept_as=kept_as, progress=progress)


def keep_built(measured: Measured, parts: Sequence[Encoded], progress: Progress) -> None:
    """Put the graph of a calibration into this machine's cache."""
    assert measured.built is not None
    assert measured.graph is not None
    values: dict[str, Any] = {name: getattr(measured.graph, name) for name in HnswSettings.__dataclass_fields__}
    measured.built.keep(graph_key(parts, measured.graph.rows, HnswSettings(**values)), progress)


def embedded_items(
    model: IndexModel, catalog: Catalog, features: Mapping[str, Features], rows: NDArray[np.int64], storage: Storage
) -> tuple[Items, NDArray[np.float32]]:
    """Some items of a catalog as an index stores them, and their embeddings in float32."""
    every = len(rows) == len(catalog)

    def those(values: Sequence[str]) -> Sequence[str]:
        return values if every else [values[row] for row in rows.tolist()]

    ids, raw = those(catalog.ids), raw_features(features, rows)
    embeddings = model.embed(ids, raw)
    columns = {name: those(cells) for name, cells in catalog.columns.items()}
    return Items(ids, encode(embeddings, storage), those(catalog.titles), columns, raw), embeddings


def items_report(catalog: Catalog, features: Mapping[str, Features], rows: NDArray[np.int64]) -> ItemsReport:
    """What became of the items of a catalog of which ``rows`` are usable."""
    left = np.setdiff1d(np.arange(len(catalog)), rows)
    failures = [(catalog.ids[row], why) for part in features.values() for row, why in part.failures]
    return ItemsReport(
        len(catalog),
        tuple(catalog.ids[row] for row in left),
        tuple(failures),
        {name: part.encoded for name, part in features.items()},
    )


def _model(options: BuildOptions, dataset: Dataset) -> tuple[IndexModel, ModelEntry]:
    """The model to build with, whose maps are not estimated yet, and its entry."""
    given: dict[str, int] = {}
    if not options.run and options.checkpoint == training_free.NAME:
        given = training_free.given_widths(dataset.catalog)
    reference = _reference(options.run or options.checkpoint)
    entry = ModelEntry(fingerprint="", reference=reference, kind="run" if options.run else "checkpoint", given=given)
    model = load_model(entry, allow_download=options.allow_download, device=options.device)
    name = f"run {_name(reference)}" if options.run else model.checkpoint.config.name
    return model, replace(entry, fingerprint=model.fingerprint, name=name)


def _reference(named: str) -> str:
    """A folder by its absolute path, so that the index finds it from anywhere; what is on the Hub by its commit, so
    that it finds the same model for good; other names as they are.
    """
    if is_on_hub(named):
        return locate(named).pinned
    return str(Path(named).resolve()) if Path(named).is_dir() else named


def _name(reference: str) -> str:
    return reference if is_on_hub(reference) else Path(reference).name


def _queries(
    model: IndexModel,
    dataset: Dataset,
    items: Items,
    embeddings: NDArray[np.float32],
    rows: NDArray[np.int64],
    seed: int,
) -> NDArray[np.float32]:
    """What users of the data set would ask: their states, at most as many as calibration uses; none without users."""
    none = np.zeros((0, embeddings.shape[1]), np.float32)
    known = dataset.interactions
    if known is None:
        return none
    place = np.full(len(dataset.catalog), -1, np.int64)
    place[rows] = np.arange(len(rows))
    users = generator(seed, _STREAM).permutation(known.n_users)[: 2 * CALIBRATION_QUERIES]
    histories = [place[known.history(user)] for user in users]
    usable = [history[history >= 0] for history in histories]
    usable = [history for history in usable if len(history)][:CALIBRATION_QUERIES]
    features = items.features if model.reads_history_features else {}
    return model.states(usable, features, embeddings) if usable else none
