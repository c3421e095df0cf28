"""``adapt recommend``: recommendations from a fine-tune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adapt.cli import options, output, results
from adapt.cli.zero_shot import IndexKind


def recommend(
    *,
    run: Annotated[Path, typer.Option("--run", help="The folder that `adapt finetune --output` wrote.")],
    dataset: Annotated[
        str, typer.Option("--dataset", "-d", help="A folder, a file, or with --allow-download a Hub data set.")
    ],
    method: Annotated[
        str,
        typer.Option(
            "--method", help="zero-shot, few-shot, fine-tuned or fused instead of the one that validation chose."
        ),
    ] = "",
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
    """Recommend from a fine-tune: for the users and items that it was trained on, and for new ones too.

    The method is the one that ranked the run's held-back events best; it is said.
    """
    named_users = (*(options.read_user_ids(users) if users else ()), *(user or ()))
    ad_hoc = options.split_history(history)
    if output_folder is not None:
        results.check_writable(output_folder)

    from adapt.cli.progress import computing
    from adapt.workflows.recommend import RecommendOptions
    from adapt.workflows.run_recommend import recommend_from_run

    columns = options.column_options(
        (item_col, user_col, time_col, rating_col, image_col), text_col, text_features, image_features
    )
    asked = RecommendOptions(
        dataset=dataset,
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
    )
    with computing() as progress:
        result = recommend_from_run(run, asked, method=method, progress=progress)
        written = results.write_result(result, output_folder) if output_folder is not None else {}
    results.say_notes(result)
    output.note(f"recommended by {result.method}")
    if as_json:
        output.document(results.document(result, written))
        return
    results.show(result, written)
    results.show_self_check(result)
