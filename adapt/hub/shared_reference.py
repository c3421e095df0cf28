"""The reference by which somebody else gets the same checkpoint: a bundled name, or a pinned revision on the Hub."""

from __future__ import annotations

from adapt.errors import AdaptError, CheckpointError, UsageError
from adapt.files import SUMS, read_sums, sha256_file
from adapt.hub.origin import origin_of
from adapt.hub.resolve import locate


def shared_reference(name: str, reference: str, sha256: str, base: str = "") -> str:
    """A reference that leads everybody to one checkpoint.

    Args:
        name: of the checkpoint, for errors.
        reference: by which it was read here.
        sha256: its fingerprint.
        base: where it is shared, if that is not where it was read from.

    Returns:
        A bundled name, or ``org/name@commit``.

    Raises:
        UsageError: it is a folder of this machine.
        CheckpointError: there is another checkpoint.
        HubError: the repository cannot be had.
    """
    try:
        located = locate(base or reference)
        found = sha256_file(located.folder / SUMS)
    except (CheckpointError, OSError) as failure:
        reason = failure.message if isinstance(failure, AdaptError) else str(failure)
        raise _local(name, sha256, reason) from failure
    if found != sha256:
        raise CheckpointError(
            f"expected {name} with sha256 {sha256} at {base or reference}, found another checkpoint with {found}",
            "Name the revision that it was made with: --base org/name@commit.",
        )
    if located.reference.kind != "path":
        return located.pinned
    origin = origin_of(located.folder, [*read_sums(located.folder), SUMS])
    if origin is None or origin.changed or not origin.repo:
        raise _local(name, sha256, f"{located.folder}, a folder of this machine")
    return f"{origin.repo}@{origin.commit}"


def _local(name: str, sha256: str, found: str) -> UsageError:
    return UsageError(
        f"expected a base that others can fetch for {name} (sha256 {sha256[:12]}...), found {found}",
        "Push the base first (`adapt hub push BASE org/base`), then name it: --base org/base@commit.",
    )
