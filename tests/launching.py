"""Programs in processes of their own: forked from one that has imported torch, or as a launcher starts them.

To import torch takes longer than most programs of tests run, so that they are forked where it does not matter how a
process came to be: :func:`alone` and :func:`ranks` give it arguments, a folder, an environment, and nothing else of the
process that tests.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.ports import free_port

REPOSITORY = Path(__file__).resolve().parent.parent
ENVIRONMENT = {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
PATIENCE = 300.0  # seconds; what runs here takes a few, but the machine may be busy

Arguments = Sequence[str | Path]

_SAID = ("out", "err")
_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(  # nothing of `adapt`: a program may change what it imports
    ["torch", "torch._dynamo", "scipy.sparse", "pandas", "pyarrow.dataset", "accelerate", "peft", "safetensors.torch"]
)


@dataclass(frozen=True)
class Program:
    """A program that runs in a process of its own.

    Attributes:
        process: its process.
        said: the folder with what it has written so far, ``out`` and ``err``.
    """

    process: ForkServerProcess
    said: tempfile.TemporaryDirectory[str]

    @staticmethod
    def begun(arguments: Arguments, folder: Path, **environment: str) -> Program:
        """Begin what ``python ARGUMENTS`` does, in ``folder``; ``environment`` is added to that of this process."""
        said = tempfile.TemporaryDirectory()
        for name in _SAID:
            Path(said.name, name).touch()
        everything = {**os.environ, **ENVIRONMENT, **environment}
        words = [str(argument) for argument in arguments]
        process = _FORKED.Process(target=_become, args=(words, str(folder), everything, said.name))
        process.start()
        return Program(process, said)

    def done(self) -> subprocess.CompletedProcess[str]:
        """Wait for it; how it ended, and what it said."""
        self.process.join(PATIENCE)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        with self.said as folder:
            out, err = (Path(folder, name).read_text(encoding="utf-8") for name in _SAID)
        code = self.process.exitcode
        assert code is not None
        return subprocess.CompletedProcess([], code, out, err)


def alone(arguments: Arguments, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What ``python ARGUMENTS`` does in ``folder``, in one process."""
    return Program.begun(arguments, folder, **environment).done()


def ranks(
    arguments: Arguments, folder: Path, processes: int = 2, **environment: str
) -> list[subprocess.CompletedProcess[str]]:
    """What it does in the processes of one launch, by rank; nothing looks after them."""
    running = side_by_side(arguments, folder, processes, **environment)
    return [program.done() for program in running]


def side_by_side(arguments: Arguments, folder: Path, processes: int = 2, **environment: str) -> list[Program]:
    """Begin the same, and do not wait."""
    group = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), **environment}
    return [
        Program.begun(arguments, folder, RANK=str(rank), LOCAL_RANK=str(rank), **group) for rank in range(processes)
    ]


def accelerate(arguments: Arguments, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``accelerate launch ARGUMENTS`` in two processes, and wait for it."""
    with started(arguments, folder, **environment) as launcher:
        out, err = launcher.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(launcher.args, launcher.returncode, out, err)


def started(arguments: Arguments, folder: Path, **environment: str) -> subprocess.Popen[str]:
    """Start the same on this machine's processors, in a group of processes of its own."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    launch += ["--main_process_port", str(free_port())]
    return subprocess.Popen(
        [*launch, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _become(words: list[str], folder: str, environment: Mapping[str, str], said: str) -> None:
    """Have this process do what ``python WORDS`` does."""
    for descriptor, name in enumerate(_SAID, start=1):
        file = os.open(Path(said, name), os.O_WRONLY | os.O_APPEND)
        os.dup2(file, descriptor)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path.insert(0, str(REPOSITORY))
    kind, *rest = words
    if kind == "-c":
        program, *rest = rest
        sys.argv = ["-c", *rest]
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
    elif kind == "-m":
        module, *rest = rest
        sys.argv = [module, *rest]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        sys.path.insert(0, str(Path(kind).resolve().parent))
        runpy.run_path(kind, run_name="__main__")
