"""The ``adapt`` command: its commands, and how every way of ending becomes an exit code.

Nothing heavy is imported here, nor at the top of a command's file: ``adapt --help`` answers at once.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

import typer

from adapt.cli import launched, output, usage
from adapt.errors import EXIT_INTERRUPT, EXIT_OK, AdaptError, UsageError
from adapt.ranks import count
from adapt.version import __version__

_EXIT_BUG = 1
_EXIT_TERMINATED = 128 + signal.SIGTERM
_EXIT_BROKEN_PIPE = 128 + 13  # SIGPIPE, which some platforms do not name

_EPILOG = (
    "Results go to stdout (--json: one JSON document), everything else to stderr. Exit codes: 0 ok, 1 bug, 2 usage, "
    "3 data, 4 checkpoint, 5 Hub, 6 missing extra, 7 another process of a launched run is gone, 130 interrupt."
)


class _Terminated(SystemExit):
    """SIGTERM arrived: unwinds like an interrupt, so that temporary files are removed on the way out."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Args:
        argv: the arguments after the program's name; None: those of this process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    output.configure(as_json="--json" in arguments)
    _exit_on_sigterm()
    code = _run(arguments)
    if argv is None and (code == EXIT_INTERRUPT or (code != EXIT_OK and count() > 1)):
        _leave(code)
    sys.exit(code)


def build_app() -> typer.Typer:
    """The typer application with every command."""
    from adapt.cli import (
        data,
        demo,
        doctor,
        evaluate,
        examples,
        finetune,
        hub,
        index,
        pretrain,
        recommend,
        serve,
        zero_shot,
    )

    app = typer.Typer(
        help="Recommendations for a new catalog of texts and images, from the first day.",
        epilog=_EPILOG,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback(invoke_without_command=True)(_root)
    panels: dict[str, dict[str, Callable[..., None]]] = {
        "Begin": {"demo": demo.demo, "doctor": doctor.doctor},
        "Recommend": {
            "zero-shot": zero_shot.zero_shot,
            "few-shot": zero_shot.few_shot,
            "finetune": finetune.finetune,
            "recommend": recommend.recommend,
            "evaluate": evaluate.evaluate,
        },
        "Keep and answer": {"serve": serve.serve},
        "Checkpoints": {"pretrain": pretrain.pretrain},
    }
    for panel, commands in panels.items():
        for name, command in commands.items():
            app.command(name, rich_help_panel=panel)(command)
    app.add_typer(data.app, name="data", rich_help_panel="Begin")
    app.add_typer(index.app, name="index", rich_help_panel="Keep and answer")
    app.add_typer(hub.app, name="hub", rich_help_panel="Checkpoints")
    examples.attach(app)
    return app


def _root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        output.text(f"adapt {__version__}")
        raise typer.Exit(EXIT_OK)
    if context.invoked_subcommand is None:
        output.help_of(context)


def _run(arguments: list[str]) -> int:
    """Run the application; return the exit code, having said on stderr why it is not a success."""
    try:
        try:
            launched.begin(arguments)
            code = build_app()(arguments, prog_name="adapt", standalone_mode=False)
        except typer.Abort as error:  # how typer before 0.29 hands on Ctrl-C
            raise KeyboardInterrupt from error
        output.flush()
        if code == EXIT_INTERRUPT:  # how newer typer does
            raise KeyboardInterrupt
        launched.finish()
        return code if isinstance(code, int) else EXIT_OK
    except output.ReaderGoneError:
        output.abandon()
        return _EXIT_BROKEN_PIPE
    except (Exception, KeyboardInterrupt, _Terminated) as error:  # noqa: BLE001 - the last resort: no ending is silent
        exit_code = _tell(error, arguments)
        if os.environ.get("ADAPT_DEBUG") == "1":
            traceback.print_exc()
        return exit_code


def _tell(error: BaseException, arguments: Sequence[str]) -> int:
    """Say what ended the command, in one of the processes that share it; return the exit code."""
    failure, says = launched.here(*_ending(error, arguments)), True
    if count() > 1:
        launched.deaf()
        failure, says = launched.cause(error, failure)
    if says:
        output.error(launched.told(failure), failure.hint, failure.exit_code)
    return failure.exit_code


def _ending(error: BaseException, arguments: Sequence[str]) -> tuple[str, str, int]:
    """Message, hint and exit code of what ended the command."""
    if isinstance(error, AdaptError):
        return error.message, error.hint, error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; nothing half-written was left", _going_on(arguments), EXIT_INTERRUPT
    if isinstance(error, _Terminated):
        return "terminated; nothing half-written was left", _going_on(arguments), _EXIT_TERMINATED
    if (told := usage.explain(error, arguments)) is not None:
        return *told, UsageError.exit_code
    return (
        f"this is a bug in adapt: {type(error).__name__}: {error}",
        "Run again with ADAPT_DEBUG=1 for the traceback, and report it with the output of `adapt doctor`.",
        _EXIT_BUG,
    )


def _going_on(arguments: Sequence[str]) -> str:
    """How to go on with what was stopped, where it goes on."""
    return "The same command with --resume goes on." if arguments[:1] in (["finetune"], ["pretrain"]) else ""


def _leave(code: int) -> NoReturn:
    """Exit with ``code`` for certain.

    An interrupt that arrives inside ``exec`` of a string, which dataclasses use while modules are imported, makes
    CPython kill itself with SIGINT at exit although the interrupt was handled; a caller would see that and not 130.
    And a group of processes that has lost one is not waited for.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _exit_on_sigterm() -> None:
    owner = os.getpid()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked worker inherits the handler but has nothing to unwind
            os._exit(_EXIT_TERMINATED)
        raise _Terminated(_EXIT_TERMINATED)

    signal.signal(signal.SIGTERM, handle)
