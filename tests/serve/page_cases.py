"""The page in a real browser, over a real service of the example shop."""

from __future__ import annotations

import base64
import contextlib
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from adapt.serve.app import create_app
from adapt.serve.security import Keys
from adapt.workflows.live_service import LiveService
from adapt.workflows.live_types import LiveOptions

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="needs Playwright's Python package: `pip install playwright`"
)
expect = sync_api.expect

DESK, PHONE = (1440, 900), (360, 780)
DROP = """
([selector, kind, data, name, type]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type }));
  const target = document.querySelector(selector);
  const options = { bubbles: true, cancelable: true, dataTransfer: transfer, clipboardData: transfer };
  if (kind === "paste") target.dispatchEvent(new ClipboardEvent("paste", options));
  else for (const step of ["dragenter", "dragover", "drop"]) target.dispatchEvent(new DragEvent(step, options));
}
"""


@contextlib.contextmanager
def served(built: Path, pictures: Path, copy: Path, keys: Keys | None = None) -> Iterator[str]:
    """The address of a service over a copy of the indexes, on a port of this machine."""
    for name in ("index", "tuned"):
        shutil.copytree(built / name, copy / name)
    options = LiveOptions(str(copy / "index"), str(copy / "memory"), str(pictures), str(copy / "tuned"))
    service = LiveService.open(options)
    server = uvicorn.Server(uvicorn.Config(create_app(service, keys=keys or Keys()), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, name="page-server")
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the service did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        service.close()


@dataclass
class Visit:
    """A page that is watched.

    Attributes:
        page: of Playwright.
        errors: what the console or a script has complained of.
        requests: addresses that were asked for.
    """

    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def check(self, site: str) -> None:
        """Nothing was complained of, blocked by the policy or asked of another origin."""
        assert not self.errors
        assert not self.page.evaluate("window.violations")
        assert {re.match(r"blob:|[a-z]+://[^/]+", address)[0] for address in self.requests} <= {site, "blob:"}  # type: ignore[index]


Visiting = Callable[..., Visit]


def find(page: Any, words: str) -> None:
    """Search by words and wait for the answer."""
    page.get_by_role("searchbox").fill(words)
    expect(page.locator("#results .card:not(.ghost)").first).to_be_visible()
    expect(page.locator("#find")).not_to_have_attribute("aria-busy", "true")


def cards(page: Any) -> list[str]:
    """Ids of the results, best first."""
    return [str(card.get_attribute("data-item")) for card in page.locator("#results .card:not(.ghost)").all()]


def card(page: Any, item: str) -> Any:
    """One of the results."""
    return page.locator(f'#results .card[data-item="{item}"]')


def chips(page: Any) -> list[str]:
    """Ids of the history, oldest first."""
    return [str(chip.get_attribute("data-item")) for chip in page.locator("#history .chip").all()]


def settle(page: Any) -> None:
    """Wait until every column has its answer."""
    expect(page.locator(".method[aria-busy]")).to_have_count(0)
    expect(page.locator(".row.ghost")).to_have_count(0)


def column(page: Any, method: str) -> list[str]:
    """Ids that a method recommends, best first."""
    settle(page)
    rows = page.locator(f"section.method[aria-labelledby='method-{method}'] .row")
    return [str(row.get_attribute("data-item")) for row in rows.all()]


def recommended(site: str, method: str, **asked: Any) -> list[str]:
    """What the service itself answers."""
    answer = httpx.post(f"{site}/v1/recommend", json={**asked, "k": 10, "method": method})
    return [item["item_id"] for item in answer.raise_for_status().json()["items"]]


def info(site: str) -> dict[str, Any]:
    """The figures of the service."""
    found: dict[str, Any] = httpx.get(f"{site}/v1/info").raise_for_status().json()
    return found


def figure(page: Any, name: str) -> Any:
    """The value of one figure in the panel."""
    return page.locator("#figures div").filter(has_text=name).locator("dd")


def give_file(page: Any, selector: str, path: Path, how: str = "drop") -> None:
    """Drop or paste a file on an element."""
    data = base64.b64encode(path.read_bytes()).decode()
    kind = "text/plain" if path.suffix == ".txt" else "image/png"
    page.evaluate(DROP, [selector, how, data, path.name, kind])
