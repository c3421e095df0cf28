"""Programs in several processes, as a launcher starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.ports import free_port

REPOSITORY = Path(__file__).resolve().parent.parent
ENVIRONMENT = {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


Arguments = Sequence[str | Path]


def accelerate(arguments: Arguments, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run ``accelerate launch ARGUMENTS`` in two processes, and wait for it; ``more`` goes into the environment."""
    with started(arguments, folder, **more) as launcher:
        out, err = launcher.communicate(timeout=300)
    return subprocess.CompletedProcess(launcher.args, launcher.returncode, out, err)


def started(arguments: Arguments, folder: Path, **more: str) -> subprocess.Popen[str]:
    """Start the same on this machine's processors, in a group of processes of its own."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    launch += ["--main_process_port", str(free_port())]
    return subprocess.Popen(
        [*launch, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def alone(arguments: Arguments, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run ``python ARGUMENTS`` in one process, without a launcher."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT, **more},
        capture_output=True,
        text=True,
        check=False,
    )


def side_by_side(arguments: Arguments, processes: int = 2) -> list[subprocess.Popen[str]]:
    """Start ``python ARGUMENTS`` once for each rank, with nothing that looks after them."""
    port = str(free_port())
    return [
        subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            env={
                **os.environ,
                **ENVIRONMENT,
                **{"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)},
                **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port},
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
