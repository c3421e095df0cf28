"""``adapt zero-shot`` and ``adapt few-shot``: recommendations for a catalog, with nothing trained."""

from __future__ import annotations

from collections.abc import Callable

from adapt.cli import options, output, preflight, results
from adapt.cli.engines import Engine
from adapt.cli.groups import grouped


def _command(workflow: str, after: tuple[str, str], description: str) -> Callable[..., None]:
    """A command with the options that these have in common.

    Args:
        workflow: the function of :mod:`adapt.workflows.recommend` that it calls.
        after: the command that is worth trying next, and what it does.
        description: its help.
    """

    def command(
        *,
        dataset: options.Dataset,
        checkpoint: options.Checkpoint = "adapt-mini",
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
        engine: Engine,
        columns: options.Columns,
    ) -> None:
        named = options.named_users(users, user)
        ad_hoc = options.split_history(history)
        preflight.dataset(dataset, columns, users=named, allow_download=running.allow_download)
        preflight.checkpoint(checkpoint)
        preflight.place(output_folder, workflow.removesuffix("_run").replace("_", "-"))
        remote = engine.settings()

        from adapt.workflows import recommend

        asked = recommend.RecommendOptions(
            dataset=dataset,
            checkpoint=checkpoint,
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
            index=remote or index.value,
            unfinished=options.unfinished(output_folder),
            profile=profile,
        )
        run = getattr(recommend, workflow)
        results.deliver(lambda progress: run(asked, progress), output_folder, as_json=as_json)
        output.next_step(after[0], columns.typed(dataset), purpose=after[1])

    command.__doc__ = description
    return grouped(command)


zero_shot = _command(
    "zero_shot_run",
    ("few-shot", "uses what other users chose too"),
    """Recommend from a new catalog on day zero: every user of the data set, those named, or an ad-hoc history.

    Without interactions, similar items are given for every item.
    """,
)
few_shot = _command(
    "few_shot_run",
    ("evaluate", "says which method to ship"),
    """Recommend from the data set's interactions and its content together, at once and with nothing trained.

    What other users went on to, what is chosen together and what is popular are weighed by the data set itself, on
    events held back; with few interactions the answer is that of zero-shot.
    """,
)
