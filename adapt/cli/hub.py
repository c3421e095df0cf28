"""``adapt hub``: checkpoints, adapters and indexes that can be had by name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adapt.cli import completion, hub_fetch, hub_output, options, output, preflight
from adapt.cli.evaluate import Protocol
from adapt.cli.groups import grouped

app = typer.Typer(
    help="Checkpoints, adapters and indexes that people share: look, compare, fetch, push.",
    no_args_is_help=False,
    invoke_without_command=True,
)


@app.callback()
def _help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        output.help_of(context)


@app.command("list")
def list_(
    org: Annotated[str, typer.Option("--org", help="What an organisation or a person shares on the Hub instead.")] = "",
    as_json: options.Json = False,
) -> None:
    """List the checkpoints that come with the package, or those that somebody shares."""
    if org:
        from adapt.hub.remote import remote_entries

        shared = remote_entries(org)
        output.document({"org": org, "repositories": [entry.to_dict() for entry in shared]}) if as_json else (
            hub_output.listed(shared, org)
        )
        return
    from adapt.hub.bundled import bundled_entries

    entries = bundled_entries()
    if as_json:
        output.document({"checkpoints": [entry.to_dict() for entry in entries]})
        return
    rows = [
        [entry.name, entry.kind, output.size(entry.size_bytes), entry.sha256[:12], entry.summary] for entry in entries
    ]
    hub_output.table(["name", "kind", "size", "sha256", "summary"], rows)
    output.text("`adapt hub show NAME` says all about one; `adapt zero-shot --dataset PATH --checkpoint NAME` uses it.")


@app.command("show")
def show(reference: options.Reference, as_json: options.Json = False) -> None:
    """Show what a checkpoint is, what it was trained on, and what was measured."""
    from adapt.hub.describe import describe

    facts = describe(reference)
    output.document(facts.to_dict()) if as_json else hub_output.facts(facts)


app.command("pull")(hub_fetch.pull)
app.command("verify")(hub_fetch.verify)


@app.command("push")
def push(
    *,
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="Folder of a checkpoint, an adapter, a fine-tuned run or an index.")
    ],
    repo: Annotated[str, typer.Argument(metavar="REPO", help="Where to: org/name.")],
    private: Annotated[bool, typer.Option("--private", help="Only members see it.")] = False,
    message: Annotated[str, typer.Option("--message", "-m", help="Of the commit.")] = "",
    base: Annotated[
        str, typer.Option("--base", help="org/name@commit of the base, where the folder names one on this machine.")
    ] = "",
    license_id: Annotated[
        str, typer.Option("--license", help="Of an adapter or an index, as the Hub names licences.")
    ] = "",
    include_items: Annotated[
        bool, typer.Option("--include-items", help="Send what is known of single items: an index, a run's residuals.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go; the Hub is not asked.")] = False,
    as_json: options.Json = False,
) -> None:
    """Share a folder on the Hub as one commit, after it was verified and looked through for what must not leave."""
    preflight.shared(path, repo)
    from adapt.cli.progress import computing
    from adapt.hub.push import PushOptions
    from adapt.workflows.hub_push import push_path

    asked = PushOptions(private, message, dry_run, include_items, base, license_id)
    with computing() as progress:
        done = push_path(path, repo, asked, progress)
    output.document(done.to_dict()) if as_json else hub_output.pushed(done)


@app.command("diff")
def diff(
    first: options.Reference,
    second: Annotated[
        str, typer.Argument(metavar="REF", help="What to compare it with.", autocompletion=completion.checkpoints)
    ],
    as_json: options.Json = False,
) -> None:
    """Say what differs between two checkpoints, adapters or indexes: spec, pretraining, figures, items, files."""
    from adapt.hub.diff import diff as compare

    found = compare(first, second)
    output.document(found.to_dict()) if as_json else hub_output.differences(found)


@app.command("card")
def card(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder of a checkpoint or an adapter.")],
    repo: Annotated[str, typer.Option("--repo", help="org/name that it will be shared as.")] = "",
    license_id: Annotated[str, typer.Option("--license", help="As the Hub names licences: apache-2.0, mit.")] = "",
    as_json: options.Json = False,
) -> None:
    """Make the card of a folder anew from its JSON files, and its sums."""
    from adapt.hub.card_check import check_card
    from adapt.hub.push import check_repo
    from adapt.hub.regenerate import regenerate_card

    text = regenerate_card(path, repository=check_repo(repo) if repo else "", license_id=license_id)
    metadata = check_card(text, str(path / "README.md"))
    if as_json:
        output.document({"path": str(path / "README.md"), "metadata": metadata})
        return
    output.text(f"Written: {path / 'README.md'} and SHA256SUMS")
    output.next_step("hub push", path, repo or "org/name", "--dry-run", purpose="lists what would be shared")


@app.command("new")
def new(
    repo: Annotated[str, typer.Argument(metavar="ORG/NAME", help="What it will be shared as.")],
    output_folder: Annotated[
        str, typer.Option("--output", "-o", help="The folder; by default NAME here.", show_default=False)
    ] = "",
    as_json: options.Json = False,
) -> None:
    """Begin a checkpoint of your own: a folder with a recipe and the steps to the Hub."""
    from adapt.workflows.hub_new import new_folder

    made = new_folder(repo, output_folder)
    if as_json:
        output.document({"folder": str(made.folder), "repo": made.repo, "commands": list(made.commands)})
        return
    hub_output.made(made)


@app.command("compare")
@grouped
def compare(
    *,
    dataset: Annotated[
        str,
        typer.Argument(metavar="DATASET", help=options.DATASET_HELP, autocompletion=completion.datasets),
    ],
    references: Annotated[
        list[str],
        typer.Argument(metavar="REF...", help="Checkpoints or adapters.", autocompletion=completion.checkpoints),
    ],
    protocol: Annotated[Protocol, typer.Option("--protocol", help="What is hidden.")] = Protocol.leave_one_out,
    k: Annotated[int, typer.Option("--k", min=1, help="Length of the lists.")] = 10,
    as_json: options.Json = False,
    running: options.Running,
    columns: options.Columns,
) -> None:
    """Say which checkpoint to adapt: all of them zero-shot on the same hidden events of your data, with intervals."""
    preflight.dataset(dataset, columns, allow_download=running.allow_download)
    preflight.checkpoint(*references)
    from adapt.cli.progress import computing
    from adapt.workflows.hub_compare import CompareOptions, compare_checkpoints

    with computing() as progress:
        found = compare_checkpoints(
            CompareOptions(
                dataset=dataset,
                checkpoints=tuple(references),
                protocol=protocol.value,
                k=k,
                seed=running.seed,
                device=running.device,
                strict=running.strict,
                allow_download=running.allow_download,
                columns=columns.chosen(),
            ),
            progress,
        )
    output.document(found.to_dict()) if as_json else hub_output.compared(found)
    output.next_step("zero-shot", columns.typed(dataset), "--checkpoint REF", purpose="recommends with it")
