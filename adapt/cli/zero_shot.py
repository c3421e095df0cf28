"""``adapt zero-shot`` and ``adapt few-shot``: recommendations for a catalog, with nothing trained."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from adapt.cli import options, output, results


class IndexKind(str, Enum):
    """The values of ``--index``."""

    auto = "auto"
    exact = "exact"
    hnsw = "hnsw"


def _command(workflow: str, description: str) -> Callable[..., None]:
    """A command with the options that these have in common.

    Args:
        workflow: the function of :mod:`adapt.workflows.recommend` that it calls.
        description: its help.
    """

    def command(
        *,
        dataset: Annotated[
            str, typer.Option("--dataset", "-d", help="A folder, a file, or with --allow-download a Hub data set.")
        ],
        checkpoint: Annotated[
            str, typer.Option("--checkpoint", help="A bundled name, a folder, or org/name@revision.")
        ] = "adapt-mini",
        users: Annotated[
            Path | None, typer.Option("--users", help="Only these users: a file with one id a line, - for stdin.")
        ] = None,
        user: Annotated[list[str] | None, typer.Option("--user", help="Only this user; repeat for several.")] = None,
        history: Annotated[
            str | None, typer.Option("--history", help='An ad-hoc user: item ids, oldest first, "id1,id2".')
        ] = None,
        k: Annotated[int, typer.Option("--k", min=1, help="How many items a list holds.")] = 10,
        output_folder: options.Output = None,
        as_json: options.Json = False,
        keep_seen: Annotated[bool, typer.Option("--keep-seen", help="Also recommend items of the history.")] = False,
        seed: options.Seed = 0,
        device: options.Device = "cpu",
        strict: options.Strict = False,
        allow_download: options.AllowDownload = False,
        index: Annotated[IndexKind, typer.Option("--index", help="How to search.")] = IndexKind.auto,
        item_col: options.ItemCol = None,
        user_col: options.UserCol = None,
        time_col: options.TimeCol = None,
        rating_col: options.RatingCol = None,
        image_col: options.ImageCol = None,
        text_col: options.TextCol = None,
        text_features: options.TextFeatures = None,
        image_features: options.ImageFeatures = None,
    ) -> None:
        named_users = (*(options.read_user_ids(users) if users else ()), *(user or ()))
        ad_hoc = options.split_history(history)
        if output_folder is not None:
            results.check_writable(output_folder)

        from adapt.cli.progress import computing
        from adapt.workflows import recommend

        columns = options.column_options(
            (item_col, user_col, time_col, rating_col, image_col), text_col, text_features, image_features
        )
        with computing() as progress:
            result = getattr(recommend, workflow)(
                recommend.RecommendOptions(
                    dataset=dataset,
                    checkpoint=checkpoint,
                    users=named_users,
                    history=ad_hoc,
                    k=k,
                    keep_seen=keep_seen,
                    seed=seed,
                    device=device,
                    strict=strict,
                    allow_download=allow_download,
                    columns=columns,
                    index=index.value,
                ),
                progress,
            )
            written = results.write_result(result, output_folder) if output_folder is not None else {}
        results.say_notes(result)
        if as_json:
            output.document(results.document(result, written))
            return
        results.show(result, written)
        results.show_self_check(result)

    command.__doc__ = description
    return command


zero_shot = _command(
    "zero_shot_run",
    """Recommend from a new catalog on day zero: every user of the data set, those named, or an ad-hoc history.

    Without interactions, similar items are given for every item.
    """,
)
few_shot = _command(
    "few_shot_run",
    """Recommend from the data set's interactions and its content together, at once and with nothing trained.

    What other users went on to, what is chosen together and what is popular are weighed by the data set itself, on
    events held back; with few interactions the answer is that of zero-shot.
    """,
)
