"""Progress and notes stay off stdout."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from adapt.cli import output
from adapt.cli.progress import computing


def test_nothing_of_the_work_reaches_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with computing() as progress:
        print("a library prints")
        progress.note("said once [bold]")
        with progress.task("encode", 10, "items") as advance:
            advance(10)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "a library prints\nnote: said once [bold]\n"


def test_a_terminal_gets_notes_and_bars(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    monkeypatch.setattr(output, "stderr_console", lambda: console)
    monkeypatch.setattr("adapt.cli.progress._SHOW_AFTER", -1.0)
    with computing() as progress, progress.task("encode texts", 10, "items") as advance:
        progress.note("said once")
        advance(4)
        print("a library prints")
    assert capsys.readouterr().out == ""
    assert "encode texts" in screen.getvalue()
    assert "said once" in screen.getvalue()
    assert "a library prints" in screen.getvalue()


def test_a_terminal_shows_how_training_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    monkeypatch.setattr(output, "stderr_console", lambda: console)
    monkeypatch.setattr("adapt.cli.progress._SHOW_AFTER", -1.0)
    with computing() as progress, progress.task("training", 10, "steps") as advance:
        advance(4)
        progress.status("loss 4.0 (next_item 3.0, alignment 1.0) · 512 sequences/s · left-out 0.0231")
        progress._display.refresh()  # type: ignore[attr-defined]  # which else happens ten times a second
    assert "loss 4.0 (next_item 3.0, alignment 1.0) · 512 sequences/s · left-out 0.0231" in screen.getvalue()


def test_a_log_file_gets_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with computing() as progress:
        progress.status("too early")
        monkeypatch.setattr("adapt.cli.progress._SAY_EVERY", 0.0)
        progress.status("step 7")
    assert capsys.readouterr().err == "note: step 7\n"
