"""Start-up, exit codes, and what goes to which stream."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from adapt.errors import AdaptError, CheckpointError, DataError, HubError, MissingExtraError, OutputError, UsageError
from adapt.hub import bundled
from adapt.version import __version__

from .conftest import Ran, start

Run = Callable[..., Ran]
HEAVY = ("torch", "transformers", "peft", "open_clip", "datasets", "timm", "pandas", "scipy", "numpy", "PIL")


def _fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(bundled, "bundled_entries", fail)


def processor_seconds(code: str, *arguments: str) -> tuple[float, list[str], str]:
    """Those that a program takes, which of the heavy packages it has imported by its end, and its output."""
    told = "atexit.register(lambda: print(time.process_time(), *heavy & set(sys.modules), file=sys.stderr))\n"
    process = start(f"import sys, time, atexit\nheavy = set({HEAVY})\n{told}{code}", *arguments)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    seconds, *heavy = err.split()
    return float(seconds), heavy, out


@pytest.mark.parametrize("arguments", [["--help"], ["zero-shot", "--help"], ["--version"]])
def test_help_is_quick_and_imports_nothing_heavy(arguments: list[str]) -> None:
    """Measured by the time of what no command can do without, on the same machine: it takes 3 to 4 times as long."""
    least, taken = [], []
    while not taken or min(taken) > 6 * min(least):
        assert len(taken) < 3, (least, taken)
        least.append(processor_seconds("import typer.main, rich.console, rich.table")[0])
        seconds, heavy, out = processor_seconds("from adapt.cli.app import main; main(sys.argv[1:])", *arguments)
        assert out
        assert heavy == []
        taken.append(seconds)


def test_version_and_no_command(adapt: Run) -> None:
    assert adapt("--version").out == f"adapt {__version__}\n"
    bare = adapt()
    assert bare.code == 0
    assert "zero-shot" in bare.out
    assert "list" in adapt("hub").out
    assert "check" in adapt("data").out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["no-such-command"], "no-such-command"),
        (["zero-shot"], "--dataset"),
        (["zero-shot", "--dataset", "x", "--colour", "red"], "--colour"),
        (["zero-shot", "--dataset", "x", "--k", "0"], "--k"),
        (["zero-shot", "--dataset", "x", "--k", "many"], "--k"),
        (["zero-shot", "--dataset", "x", "--index", "fast"], "fast"),
        (["zero-shot", "--dataset", "x", "--users", "/no/such/file"], "/no/such/file"),
        (["zero-shot", "--dataset", "x", "--history", " , "], "--history"),
        (["data", "check"], "PATH"),
        (["index", "serch"], "search"),
        (["hub", "pull", "a", "b"], "b"),
    ],
)
def test_a_wrong_call_is_named_and_exits_2(adapt: Run, arguments: list[str], named: str) -> None:
    ran = adapt(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert named in ran.err
    assert "\nfix: " in ran.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("m", "h"), 2),
        (OutputError("m", "h"), 2),
        (DataError("m", "h"), 3),
        (CheckpointError("m", "h"), 4),
        (HubError("m", "h"), 5),
        (MissingExtraError("m", "h"), 6),
    ],
)
def test_every_kind_of_error_has_its_exit_code(
    adapt: Run, monkeypatch: pytest.MonkeyPatch, error: AdaptError, code: int
) -> None:
    _fail_with(monkeypatch, error)
    assert adapt("hub", "list") == Ran(code, "", "error: m\nfix: h\n")
    as_json = adapt("hub", "list", "--json")
    assert (as_json.code, as_json.out) == (code, "")
    assert json.loads(as_json.err) == {"error": "m", "hint": "h", "exit_code": code}


def test_markup_in_a_message_is_printed_as_it_stands(adapt: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(monkeypatch, DataError("found [red]x[/red] :smile: " + "y" * 200, ""))
    assert adapt("hub", "list").err == "error: found [red]x[/red] :smile: " + "y" * 200 + "\n"


def test_a_bug_says_so_and_shows_the_traceback_only_when_asked(adapt: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(monkeypatch, ZeroDivisionError("oops"))
    monkeypatch.delenv("ADAPT_DEBUG", raising=False)
    ran = adapt("hub", "list")
    assert ran.code == 1
    assert "bug in adapt: ZeroDivisionError: oops" in ran.err
    assert "Traceback" not in ran.err
    monkeypatch.setenv("ADAPT_DEBUG", "1")
    assert "Traceback" in adapt("hub", "list").err


def test_an_interrupt_is_one_line_and_130(adapt: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(monkeypatch, KeyboardInterrupt())
    ran = adapt("hub", "list")
    assert (ran.code, ran.out, ran.err.count("\n")) == (130, "", 1)
    assert json.loads(adapt("hub", "list", "--json").err)["exit_code"] == 130


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_writing_leaves_nothing_half_written(tmp_path: Path, number: signal.Signals, code: int) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from adapt import files\n"
        "from adapt.hub import bundled\n"
        "from adapt.cli.app import main\n"
        "folder = Path(sys.argv[1])\n"
        "def slow():\n"
        "    with files.atomic_write(folder / 'result.csv') as handle:\n"
        "        handle.write('half')\n"
        "        print('writing', flush=True)\n"
        "        time.sleep(30)\n"
        "bundled.bundled_entries = slow\n"
        "sys.argv[1:] = ['hub', 'list']\n"
        "main()"
    )
    process = start(program, str(tmp_path))
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    assert len(list(tmp_path.iterdir())) == 1
    process.send_signal(number)
    _, err = process.communicate(timeout=10)
    assert process.returncode == code
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_away_is_no_error() -> None:
    process = start("import time; time.sleep(0.3)\nfrom adapt.cli.app import main\nmain(['--version'])")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(timeout=20) == 141
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.parametrize(
    "words",
    [
        ["zero-shot", "--dataset"],
        ["few-shot", "--dataset"],
        ["finetune", "--dataset"],
        ["evaluate", "--dataset"],
        ["index", "build", "--dataset"],
        ["pretrain", "--recipe", "own_data", "--dataset"],
    ],
    ids=lambda words: words[0],
)
def test_a_command_is_stopped_at_once(tmp_path: Path, example_shop: Path, words: list[str]) -> None:
    """A real run that is interrupted early ends within seconds and leaves neither results nor temporary files."""
    folder = tmp_path / "out"
    program = "from adapt.cli.app import main\nprint('up', flush=True)\nmain()"
    process = start(program, *words, str(example_shop), "--output", str(folder))
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "error: interrupted; nothing half-written was left" in err
    assert ("--resume" in err) == (words[0] in {"finetune", "pretrain"})
    assert [path.name for path in tmp_path.rglob("*")] in ([], ["out"])
