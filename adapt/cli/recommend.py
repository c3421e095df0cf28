"""``adapt recommend``: recommendations from a fine-tune."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapt.cli import options, output, preflight, results
from adapt.cli.groups import grouped

if TYPE_CHECKING:
    from adapt.progress import Progress
    from adapt.workflows.recommend import RecommendResult


class Method(str, Enum):
    """The values of ``--method``."""

    zero_shot = "zero-shot"
    few_shot = "few-shot"
    fine_tuned = "fine-tuned"
    fused = "fused"


@grouped
def recommend(
    *,
    run: Annotated[
        str,
        typer.Option(
            "--run",
            help="The folder that `adapt finetune --output` wrote, or org/name@revision of one that was pushed with "
            "its items.",
            show_default=False,
        ),
    ],
    dataset: options.Dataset,
    method: Annotated[
        Method | None,
        typer.Option("--method", help="Recommend by this.", show_default="the one that validation chose"),
    ] = None,
    users: options.Users = None,
    user: options.User = None,
    sample_users: options.SampleUsers = 0,
    history: options.History = None,
    k: options.ListLength = 10,
    output_folder: options.Output = None,
    as_json: options.Json = False,
    keep_seen: options.KeepSeen = False,
    profile: options.Profile = False,
    running: options.Running,
    index: options.Index = options.IndexKind.auto,
    columns: options.Columns,
) -> None:
    """Recommend from a fine-tune: for the users and items that it was trained on, and for new ones too.

    The method is the one that ranked the run's held-back events best; it is said.
    """
    named = options.named_users(users, user)
    ad_hoc = options.split_history(history)
    preflight.run(run)
    preflight.dataset(dataset, columns, users=named, allow_download=running.allow_download)
    preflight.place(output_folder, "recommend")

    from adapt.workflows.recommend import RecommendOptions
    from adapt.workflows.run_recommend import recommend_from_run

    asked = RecommendOptions(
        dataset=dataset,
        users=named,
        sample_users=sample_users,
        history=ad_hoc,
        k=k,
        keep_seen=keep_seen,
        seed=running.seed,
        device=running.device,
        strict=running.strict,
        allow_download=running.allow_download,
        columns=columns.chosen(),
        index=index.value,
        unfinished=options.unfinished(output_folder),
        profile=profile,
    )

    def compute(progress: Progress) -> RecommendResult:
        return recommend_from_run(run, asked, method=method.value if method else "", progress=progress)

    results.deliver(compute, output_folder, as_json=as_json)
    output.next_step("evaluate", columns.typed(dataset), "--run", Path(run), purpose="says whether it is worth it")
