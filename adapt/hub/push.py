"""Sending a folder to the Hub: one commit, on top of the revision that was looked at, or nothing."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapt.errors import CheckpointError, HubError, UsageError
from adapt.files import SUMS, read_sums
from adapt.hub.failures import explained, own_tokens
from adapt.hub.upload import UploadPlan
from adapt.progress import SILENT, Progress

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class PushOptions:
    """How to push.

    Attributes:
        private: whether a repository that is made for it is private; one that is there and is public is refused then.
        message: of the commit; empty = one is made.
        dry_run: say what would go; the Hub is not asked anything.
        include_items: send what is known of items with an index or a run.
        base: reference of an adapter's or an index's model on the Hub, where it was made with a local copy.
        license: of an adapter or an index, as the Hub names licences; a checkpoint's is in its card. Empty = as it was.
    """

    private: bool = False
    message: str = ""
    dry_run: bool = False
    include_items: bool = False
    base: str = ""
    license: str = ""


DEFAULTS = PushOptions()


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Attributes:
        repo: ``org/name``.
        plan: what went, or with ``dry_run`` would go.
        commit: 40 hex digits; empty for a dry run.
        unchanged: whether the repository held exactly this already, so that no commit was made.
        removed: files of the earlier version that the commit took away.
    """

    repo: str
    plan: UploadPlan
    commit: str = ""
    unchanged: bool = False
    removed: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """Pinned: ``org/name@commit``."""
        return f"{self.repo}@{self.commit}" if self.commit else self.repo

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "repo": self.repo,
            "commit": self.commit,
            "reference": self.reference,
            "dry_run": not self.commit,
            "unchanged": self.unchanged,
            "removed": list(self.removed),
            **self.plan.to_dict(),
        }


def check_repo(repo: str) -> str:
    """``repo``, if it is ``org/name``.

    Raises:
        UsageError: it is not.
    """
    if not _REPO.fullmatch(repo) or len(repo) > 96:
        raise UsageError(
            f"expected a repository as org/name, found {repo!r}", "For example: adapt hub push DIR me/shop"
        )
    return repo


def push(plan: UploadPlan, repo: str, options: PushOptions = DEFAULTS, progress: Progress = SILENT) -> Pushed:
    """Send what was planned as one commit; the repository is made if it is not there.

    Large files go first and are not seen by anyone until the commit names them: an interrupted push leaves the
    repository as it was, and those files need not go again.

    Args:
        plan: of :func:`~adapt.hub.upload.plan_upload`.
        repo: ``org/name``.
        options: how.
        progress: told the bytes.

    Raises:
        UsageError: ``repo`` is no name of a repository, is public where a private one is asked for, or the folder is a
            changed copy of another revision than the newest.
        HubError: there is no token, or the Hub refuses or cannot be reached; says what to do.
    """
    check_repo(repo)
    for note in plan.notes:
        progress.note(note)
    if options.dry_run:
        return Pushed(repo, plan)
    tokens = own_tokens()
    if not tokens:
        raise HubError(
            "expected a token of the Hub that may write, found none",
            "`hf auth login` keeps one, or set HF_TOKEN; https://huggingface.co/settings/tokens makes one.",
        )
    with explained(repo, "push to"):
        from huggingface_hub import HfApi

        api = HfApi()
        head = _head(api, repo)
        _check_copy(plan, repo, head.commit if head is not None else "")
        if head is not None:
            if options.private and not head.private:
                raise UsageError(
                    f"expected {repo} to be private, found that it is public already",
                    "Push to another repository, or leave --private out and share it. Visibility is changed on its "
                    "settings page.",
                )
        else:
            api.create_repo(repo, private=options.private, exist_ok=True)
            head = _head(api, repo)
            assert head is not None
        return _commit(api, plan, repo, head, options, progress)


@dataclass(frozen=True)
class _Head:
    commit: str
    private: bool


def _head(api: HfApi, repo: str) -> _Head | None:
    """The newest revision; None where there is no such repository, or none that this token may see."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        info = api.model_info(repo)
    except GatedRepoError:
        raise
    except RepositoryNotFoundError as failure:
        if failure.response.status_code == 401:  # the token is no good; a repository that is not there is a 404
            raise
        return None
    return _Head(info.sha or "", bool(info.private))


def _check_copy(plan: UploadPlan, repo: str, head: str) -> None:
    """A changed copy of a revision may only go on top of that revision.

    Raises:
        UsageError: it would go on top of another one.
    """
    origin = plan.origin
    if origin is None or not origin.changed or origin.commit == head:
        return
    whose = origin.repo or repo
    raise UsageError(
        f"expected a changed copy of {whose}@{origin.commit[:12]} to go on top of that revision, found {repo} "
        f"{f'at {head[:12]}' if head else 'without it'} ({', '.join(origin.changed[:3])} changed in the copy)",
        f"`adapt hub diff PATH {repo}` shows what differs. Fetch the newest revision and make the change there, or "
        "copy the folder without .cache/huggingface and push it to a repository of your own.",
    )


def _commit(api: HfApi, plan: UploadPlan, repo: str, head: _Head, options: PushOptions, progress: Progress) -> Pushed:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    additions = [CommitOperationAdd(file.name, str(plan.folder / file.name)) for file in plan.files]
    removed = _outdated(api, plan, repo, head)
    with _quiet(), progress.task("uploading", plan.size_bytes, "bytes") as advance:
        for file, addition in zip(plan.files, additions, strict=True):
            api.preupload_lfs_files(repo, [addition], free_memory=False)
            advance(file.size_bytes)
        operations: list[CommitOperationAdd | CommitOperationDelete] = [*additions]
        operations += [CommitOperationDelete(name) for name in removed]
        done = api.create_commit(
            repo,
            operations,
            commit_message=options.message or f"Push {plan.kind} with adapt",
            parent_commit=head.commit or None,
        )
    return Pushed(repo, plan, done.oid, done.oid == head.commit, tuple(removed))


def _outdated(api: HfApi, plan: UploadPlan, repo: str, head: _Head) -> list[str]:
    """Files that the newest revision lists as its own and that this version no longer has."""
    there = set(api.list_repo_files(repo, revision=head.commit or None))
    if SUMS not in there:
        return []
    try:
        listed = read_sums(Path(api.hf_hub_download(repo, SUMS, revision=head.commit or None)).parent)
    except CheckpointError:  # of something else than this package; its files are not ours to remove
        return []
    return sorted((set(listed) & there) - {file.name for file in plan.files})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without huggingface_hub's own bars and warnings, beside which ours would be written."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    logger, were = logging.getLogger("huggingface_hub"), are_progress_bars_disabled()
    level = logger.level
    disable_progress_bars()
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        if not were:
            enable_progress_bars()
