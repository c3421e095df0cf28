"""What the Hub says when it refuses, as errors that name the fix and never show a token."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from adapt.errors import HubError

_QUERY = re.compile(r"([^\s'\"?]+)\?[\w-]+=[^\s'\")]*")  # huggingface_hub shortens addresses to their last part
_USERINFO = re.compile(r"(https?://)[^\s/@]+@")
_AGAIN = "Nothing was committed, so nobody sees half of it; the same command goes on with what is not there yet."


def own_tokens() -> tuple[str, ...]:
    """The tokens that this machine would send; nothing that is shown or shared may hold them."""
    from huggingface_hub import get_token

    token = get_token()
    return (token,) if token else ()


@contextlib.contextmanager
def explained(repo: str, doing: str, *, sends: bool = True) -> Iterator[None]:
    """Turn what huggingface_hub raises into a :class:`HubError` that says what to do.

    Args:
        repo: ``org/name``.
        doing: for the message: ``"push to"``.
        sends: whether something is to be committed.
    """
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    again = f" {_AGAIN}" if sends else ""
    try:
        yield
    except OfflineModeIsEnabled as failure:
        raise HubError(
            f"expected to {doing} {repo}, found that HF_HUB_OFFLINE forbids to ask the Hub",
            "Unset HF_HUB_OFFLINE" + (", or look only: --dry-run asks nothing." if sends else "."),
        ) from failure
    except (OSError, ValueError, RuntimeError, _transport()) as failure:
        # An upload that fails is wrapped into a RuntimeError; what the server said is its cause.
        cause = failure.__cause__ if isinstance(failure, RuntimeError) and failure.__cause__ else failure
        response = getattr(cause, "response", None)
        fix = f"Check the network and HF_ENDPOINT.{again}"
        if isinstance(cause, HfHubHTTPError) and response is not None:
            fix = _fix(int(response.status_code), repo, again)
        raise HubError(f"expected to {doing} {repo}, found: {said(cause)}", fix) from None


def safe(text: str) -> str:
    """A text without the tokens of this machine, and without the queries of addresses, which may be signed.

    >>> safe("PUT https://me:pw@host/file?X-Amz-Signature=abc failed")
    'PUT https://host/file failed'
    >>> safe("size of (…).safetensors?Signature=abc) is wrong")
    'size of (…).safetensors) is wrong'
    """
    for token in own_tokens():
        text = text.replace(token, "***")
    return _USERINFO.sub(r"\1", _QUERY.sub(r"\1", text))


def said(failure: BaseException) -> str:
    """What huggingface_hub says of a failure: its first line with the status, and what the server said or its last."""
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    reason = getattr(failure, "server_message", None) or (lines[-1] if lines else "")
    first = lines[:1]
    return safe(" ".join(first + [reason] * (not first or reason not in first[0])) or type(failure).__name__)


def _fix(status: int, repo: str, again: str) -> str:
    fixes = {
        400: "The Hub does not take what was sent; it says above what.",
        401: "The token is no good: `hf auth login` or HF_TOKEN; https://huggingface.co/settings/tokens makes one.",
        403: f"The token may not write to {repo}: take one with the role write, and ask the organisation for access.",
        404: f"There is no {repo} that this token may see: check the name.",
        429: f"Too many requests: wait some minutes.{again}",
    }
    if status in (409, 412):
        return (
            f"Somebody else has pushed to {repo} meanwhile; yours was not committed. `adapt hub diff PATH {repo}` "
            "shows what differs: push again to put yours on top, or leave theirs."
        )
    return fixes.get(status, f"The Hub has a problem; try again later.{again}")


def _transport() -> type[Exception]:
    """What a broken connection raises in a huggingface_hub that stands on httpx; before, it was an ``OSError``."""
    try:
        from httpx import HTTPError
    except ImportError:
        return OSError
    return HTTPError
