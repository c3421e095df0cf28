"""``adapt index``: an index that follows a catalog."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapt import ranks
from adapt.cli import completion, index_output, options, output, preflight
from adapt.cli.engines import Engine
from adapt.cli.groups import grouped
from adapt.cli.options import IndexKind
from adapt.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from adapt.workflows.living_index import Hits, LivingIndex, SearchOptions

app = typer.Typer(
    help="An index that follows a catalog: build, add, remove, search, info, verify, compact, move.",
    no_args_is_help=False,
    invoke_without_command=True,
)

Folder = Annotated[str, typer.Option("--index", help="Folder of the index, or org/name@revision to read only.")]
Wait = Annotated[float, typer.Option("--wait", min=0.0, help="Seconds to wait for another writer to finish.")]
Checkpoint = Annotated[
    str, typer.Option("--checkpoint", help="The checkpoint, where it is not where the index was built from.")
]
RunFolder = Annotated[str, typer.Option("--run", help="The fine-tuned run, where it has moved.")]


class StorageKind(str, Enum):
    """The values of ``--storage``."""

    float32 = "float32"
    float16 = "float16"
    int8 = "int8"


@app.callback()
def _help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        output.help_of(context)


@app.command("build")
@grouped
def build(
    *,
    dataset: options.Dataset,
    output_folder: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the index; one that is there is replaced.")
    ],
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint",
            help=options.REFERENCE_HELP,
            show_default="adapt-mini",
            autocompletion=completion.checkpoints,
        ),
    ] = None,
    run: Annotated[
        str, typer.Option("--run", help="A fine-tuned run instead, or org/name of a shared one: its towers embed.")
    ] = "",
    storage: Annotated[
        StorageKind, typer.Option("--storage", help="Type of the stored embeddings; what it loses is measured.")
    ] = StorageKind.float32,
    index: Annotated[IndexKind, typer.Option("--kind", help="How to search.")] = IndexKind.auto,
    threshold: Annotated[
        int, typer.Option("--threshold", min=1, help="Items from which on --kind auto is hnsw.")
    ] = 50_000,
    recall_target: Annotated[
        float, typer.Option("--recall", min=0.01, max=1.0, help="Share of true neighbours that HNSW is to find.")
    ] = 0.99,
    threads: Annotated[
        int, typer.Option("--threads", min=1, help="For the graph; with more than 1 it differs on every run.")
    ] = 1,
    engine: Engine,
    wait: Wait = 30.0,
    running: options.Running,
    profile: options.Profile = False,
    as_json: options.Json = False,
    columns: options.Columns,
) -> None:
    """Build an index over the items of a data set."""
    if run and checkpoint is not None:
        raise UsageError("expected --checkpoint or --run, found both", "A run has its own: leave --checkpoint out.")
    preflight.dataset(dataset, columns, allow_download=running.allow_download)
    preflight.checkpoint(checkpoint)
    preflight.run(run)
    preflight.writable(output_folder)
    remote = engine.settings()
    from adapt.cli.progress import computing
    from adapt.workflows import index_build

    asked = index_build.BuildOptions(
        dataset=dataset,
        output=str(output_folder),
        checkpoint=checkpoint or "adapt-mini",
        run=run,
        storage=storage.value,
        index=remote or index.value,
        threshold=threshold,
        recall_target=recall_target,
        seed=running.seed,
        threads=threads,
        wait=wait,
        device=running.device,
        strict=running.strict,
        allow_download=running.allow_download,
        columns=columns.chosen(),
        profile=profile,
    )
    with computing() as progress:
        if not ranks.is_main():
            index_build.encode_share(asked, progress)
            return
        result = index_build.build(asked, progress)
    index_output.built(result, as_json=as_json)
    output.next_step("index search --index", output_folder, '--text "what you look for"', purpose="searches it")
    output.next_step("serve --index", output_folder, columns.typed(dataset), purpose="answers over HTTP, with a page")


@app.command("add")
@grouped
def add(
    *,
    index: Folder,
    dataset: options.Dataset,
    checkpoint: Checkpoint = "",
    run: RunFolder = "",
    wait: Wait = 30.0,
    device: options.Device = "cpu",
    strict: options.Strict = False,
    allow_download: options.AllowDownload = False,
    as_json: options.Json = False,
    columns: options.ItemColumns,
) -> None:
    """Add items, or replace those with the same ids, from a file with text, images or both; only these are encoded."""
    preflight.index(index)
    preflight.dataset(dataset, columns, allow_download=allow_download)
    from adapt.cli.progress import computing
    from adapt.workflows.index_add import read_items
    from adapt.workflows.living_index import LivingIndex

    with computing() as progress:
        living = LivingIndex.open(
            index, checkpoint=checkpoint, run=run, allow_download=allow_download, device=device, progress=progress
        )
        catalog = read_items(
            dataset,
            living.snapshot.description.text_template,
            columns=columns.chosen(),
            strict=strict,
            allow_download=allow_download,
            progress=progress,
        )
        change = living.add(catalog, wait=wait)
    index_output.changed(change, as_json=as_json)


@app.command("remove")
def remove(
    *,
    index: Folder,
    item: Annotated[list[str] | None, typer.Option("--item", help="Id of an item; repeat for several.")] = None,
    items: Annotated[Path | None, typer.Option("--items", help="Ids from a file, one a line, - for stdin.")] = None,
    wait: Wait = 30.0,
    as_json: options.Json = False,
) -> None:
    """Remove items, all or none of them; they are not found from then on, and gone from disk with the next compact."""
    ids = (*(item or ()), *(options.read_ids(items, "--items") if items else ()))
    if not ids:
        raise UsageError("expected ids to remove, found none", "Name them: --item ID, or --items FILE.")
    preflight.index(index)
    from adapt.cli.progress import computing
    from adapt.workflows.living_index import LivingIndex

    with computing() as progress:
        change = LivingIndex.open(index, progress=progress).remove(ids, wait=wait)
    index_output.changed(change, as_json=as_json)


@app.command("search")
def search(
    *,
    index: Folder,
    history: Annotated[
        str | None, typer.Option("--history", help='What a user had: item ids, oldest first, "id1,id2".')
    ] = None,
    item: Annotated[str | None, typer.Option("--item", help="An item of the index.")] = None,
    text: Annotated[str | None, typer.Option("--text", help="Words; pictures are found too.")] = None,
    image: Annotated[Path | None, typer.Option("--image", help="A picture file; texts are found too.")] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="How many items; fewer where fewer are allowed.")] = 10,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", help='Only items like this: "category=Tents", "price<=50", "brand in A,B"; repeat.'),
    ] = None,
    allow: Annotated[Path | None, typer.Option("--allow", help="Only these items: a file, one id a line.")] = None,
    deny: Annotated[Path | None, typer.Option("--deny", help="Not these items: a file, one id a line.")] = None,
    keep_seen: Annotated[bool, typer.Option("--keep-seen", help="Also find items of the history.")] = False,
    diversity: Annotated[
        float, typer.Option("--diversity", min=0.0, max=1.0, help="From 0 to 1: how unlike each other items are to be.")
    ] = 0.0,
    checkpoint: Checkpoint = "",
    run: RunFolder = "",
    device: options.Device = "cpu",
    allow_download: options.AllowDownload = False,
    as_json: options.Json = False,
) -> None:
    """Search by a user's history, by an item, by words or by a picture."""
    given = [value is not None for value in (history, item, text, image)]
    if sum(given) != 1:
        raise UsageError(
            f"expected one of --history, --item, --text and --image, found {sum(given) or 'none'} of them",
            'For example: --text "something warm for the night"',
        )
    ids = options.split_history(history)
    if history is not None and not ids:
        raise UsageError("expected item ids after --history, found none")
    allowed = options.read_ids(allow, "--allow") if allow else None
    denied = options.read_ids(deny, "--deny") if deny else ()
    preflight.index(index)
    from adapt.cli.progress import computing
    from adapt.index.filters import parse_condition
    from adapt.workflows.living_index import LivingIndex, SearchOptions

    wanted = SearchOptions(
        k, tuple(parse_condition(written) for written in where or ()), allowed, denied, keep_seen, diversity
    )
    with computing() as progress:
        living = LivingIndex.open(
            index, checkpoint=checkpoint, run=run, allow_download=allow_download, device=device, progress=progress
        )
        hits = _search(living, ids, item, text, image, wanted)
    index_output.found(hits, as_json=as_json)


@app.command("info")
def info(*, index: Folder, as_json: options.Json = False) -> None:
    """Show what an index is, its measured recall, its size, and how far its catalog has drifted."""
    preflight.index(index)
    from adapt.cli.progress import computing
    from adapt.workflows.index_facts import facts

    with computing() as progress:
        known = facts(index, progress)
    index_output.info(known, as_json=as_json)


@app.command("verify")
def verify(
    *,
    index: Folder,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the sample; without it another one each time.")] = None,
    device: options.Device = "cpu",
    allow_download: options.AllowDownload = False,
    as_json: options.Json = False,
) -> None:
    """Check every byte, the counts, the lengths, the model, and the recall on a fresh sample."""
    preflight.index(index)
    from adapt.cli.progress import computing
    from adapt.workflows import index_facts

    with computing() as progress:
        checks = index_facts.verify(index, seed=seed, allow_download=allow_download, device=device, progress=progress)
    index_output.checked(checks, as_json=as_json)
    failed = [check.name for check in checks if check.passed is False]
    if failed:
        raise CheckpointError(
            f"the index {index} is not sound: {', '.join(failed)}",
            "Build it again from its checkpoint and data set.",
        )


@app.command("compact")
def compact(
    *,
    index: Folder,
    refit: Annotated[
        bool, typer.Option("--refit", help="Estimate the normalisation anew and embed every item by it.")
    ] = False,
    checkpoint: Checkpoint = "",
    run: RunFolder = "",
    wait: Wait = 30.0,
    device: options.Device = "cpu",
    as_json: options.Json = False,
) -> None:
    """Rewrite an index without deleted items and measure its recall again; nothing is encoded."""
    preflight.index(index)
    from adapt.cli.progress import computing
    from adapt.workflows.living_index import LivingIndex

    with computing() as progress:
        living = LivingIndex.open(index, checkpoint=checkpoint, run=run, device=device, progress=progress)
        change = living.compact(refit=refit, wait=wait)
    index_output.changed(change, as_json=as_json)


@app.command("move")
@grouped
def move(
    *,
    index: Folder,
    engine: Engine,
    kind: Annotated[IndexKind, typer.Option("--kind", help="How this machine searches.")] = IndexKind.auto,
    wait: Wait = 30.0,
    device: options.Device = "cpu",
    as_json: options.Json = False,
) -> None:
    """Have another engine search an index; ids, embeddings, columns and model stay bit for bit what they are."""
    preflight.index(index)
    from adapt.cli.progress import computing
    from adapt.workflows.living_index import LivingIndex

    with computing() as progress:
        living = LivingIndex.open(index, device=device, progress=progress)
        change = living.move(engine.settings() or kind.value, wait=wait)
    index_output.changed(change, as_json=as_json)


def _search(
    living: LivingIndex,
    history: tuple[str, ...],
    item: str | None,
    text: str | None,
    image: Path | None,
    wanted: SearchOptions,
) -> Hits:
    if history:
        return living.by_history(history, wanted)
    if item is not None:
        return living.by_item(item, wanted)
    return living.by_text(text, wanted) if text is not None else living.by_image(image or Path(), wanted)
