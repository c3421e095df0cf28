"""What seeding asks of torch, in a process that has just begun."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from adapt.seeds import seed_everything

seed_everything(3)
import torch

drawn = torch.rand(2)
seed_everything(3)
print(torch.equal(drawn, torch.rand(2)))
print(torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
print("torch._dynamo" in sys.modules)
"""


def test_kernels_are_deterministic_and_the_compiler_is_not_imported() -> None:
    """To import the compiler takes half as long as to import torch, and nothing is compiled."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "True", "False"]
