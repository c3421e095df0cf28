"""What is asked of the machine: how many processes there are, and memory that is given back."""

from __future__ import annotations

import subprocess
import sys

import pytest

from adapt import machine

LEAVES_GAPS = """
from pathlib import Path
from adapt.machine import return_memory

def resident():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line)

parts = [bytearray(b"x" * 100_000) for _ in range(1000)]
before = resident()
del parts[:990]  # what is left keeps the heap from shrinking
after = resident()
return_memory()
print(before, after, resident())
"""


@pytest.mark.skipif(machine._malloc_trim() is None, reason="another C library than glibc")
def test_freed_memory_goes_back_to_the_system() -> None:
    found = subprocess.run([sys.executable, "-c", LEAVES_GAPS], capture_output=True, text=True, check=True)
    before, kept, after = map(int, found.stdout.split())
    assert kept > before - 20_000  # of 99,000 kB
    assert after < before - 80_000


def test_another_system_has_nothing_to_give_back(monkeypatch: pytest.MonkeyPatch) -> None:
    machine._malloc_trim.cache_clear()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert machine._malloc_trim() is None
    machine.return_memory()
    machine._malloc_trim.cache_clear()
