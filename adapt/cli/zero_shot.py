"""``adapt zero-shot`` and ``adapt few-shot``: recommendations for a catalog, with nothing trained."""

from __future__ import annotations

from collections.abc import Callable

from adapt.cli import options, results


def _command(workflow: str, description: str) -> Callable[..., None]:
    """A command with the options that these have in common.

    Args:
        workflow: the function of :mod:`adapt.workflows.recommend` that it calls.
        description: its help.
    """

    def command(
        *,
        dataset: options.Dataset,
        checkpoint: options.Checkpoint = "adapt-mini",
        users: options.Users = None,
        user: options.User = None,
        history: options.History = None,
        k: options.ListLength = 10,
        output_folder: options.Output = None,
        as_json: options.Json = False,
        keep_seen: options.KeepSeen = False,
        seed: options.Seed = 0,
        device: options.Device = "cpu",
        strict: options.Strict = False,
        allow_download: options.AllowDownload = False,
        index: options.Index = options.IndexKind.auto,
        item_col: options.ItemCol = None,
        user_col: options.UserCol = None,
        time_col: options.TimeCol = None,
        rating_col: options.RatingCol = None,
        image_col: options.ImageCol = None,
        text_col: options.TextCol = None,
        text_features: options.TextFeatures = None,
        image_features: options.ImageFeatures = None,
    ) -> None:
        named = options.named_users(users, user)
        ad_hoc = options.split_history(history)

        from adapt.workflows import recommend

        asked = recommend.RecommendOptions(
            dataset=dataset,
            checkpoint=checkpoint,
            users=named,
            history=ad_hoc,
            k=k,
            keep_seen=keep_seen,
            seed=seed,
            device=device,
            strict=strict,
            allow_download=allow_download,
            columns=options.column_options(
                (item_col, user_col, time_col, rating_col, image_col), text_col, text_features, image_features
            ),
            index=index.value,
        )
        run = getattr(recommend, workflow)
        results.deliver(lambda progress: run(asked, progress), output_folder, as_json=as_json)

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
