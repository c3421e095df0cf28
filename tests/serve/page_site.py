"""Fixtures of the page's tests: a browser, and a service of the example shop."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapt import load_dataset
from adapt.hub.format import Checkpoint
from adapt.workflows.finetune import FinetuneOptions, finetune
from adapt.workflows.finetune_settings import TrainingSettings
from adapt.workflows.index_build import BuildOptions, build
from tests.serve.page_cases import DESK, Visit, Visiting, expect, served, sync_api

CHECKPOINT = "adapt-mini"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 20_000  # ms; what is waited for comes in a few, but the machine may be busy

WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
"""


@pytest.fixture(scope="session")
def example_index(tmp_path_factory: pytest.TempPathFactory, example_shop: Path) -> Path:
    """A folder with an index of the example shop, and one of a run that was fine-tuned for it."""
    folder = tmp_path_factory.mktemp("shop")
    dataset = load_dataset(str(example_shop))
    short = FinetuneOptions(kind="head", refit=False, training=TrainingSettings(epochs=1, targets=64, negatives=32))
    run = finetune(Checkpoint.from_pretrained(CHECKPOINT), dataset, short, folder / "run", reference=CHECKPOINT)
    build(BuildOptions(dataset=str(example_shop), output=str(folder / "index"), checkpoint=CHECKPOINT))
    build(BuildOptions(dataset=str(example_shop), output=str(folder / "tuned"), run=str(run.path)))
    return folder


@pytest.fixture(scope="module")
def site(example_index: Path, example_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service that everyone on this machine may use."""
    with served(example_index, example_shop, tmp_path_factory.mktemp("site")) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window; of this module alone, because its event loop keeps others from running."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"needs a browser on the PATH: {', '.join(BROWSERS)}")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Visiting]:
    """A function that opens the page; at the end every page that was opened must be without complaint.

    Its arguments: the site, what follows the address, the colour scheme, the size, and whether errors are expected.
    """
    opened: list[tuple[Visit, str, bool]] = []

    def go(
        site: str, path: str = "/", scheme: str = "light", size: tuple[int, int] = DESK, *, failing: bool = False
    ) -> Visit:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, reduced_motion="reduce"
        )
        context.set_default_timeout(PATIENCE)
        context.add_init_script(WATCH)
        seen = Visit(context.new_page())
        seen.page.on("console", lambda said: seen.errors.append(said.text) if said.type == "error" else None)
        seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        opened.append((seen, site, failing))
        seen.page.goto(site + path)
        return seen

    expect.set_options(timeout=PATIENCE)
    yield go
    for seen, site, failing in opened:
        if not failing:
            seen.check(site)
        seen.page.context.close()
