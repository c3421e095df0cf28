"""The folder of a run that trains: what it was asked, what it has found so far, and whether it may be resumed."""

from __future__ import annotations

import datetime
import json
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from adapt import ranks
from adapt.config import to_dict
from adapt.data import Dataset
from adapt.errors import CheckpointError, UsageError
from adapt.files import atomic_write, write_json
from adapt.machine import peak_memory, processor, versions
from adapt.profile import Stages
from adapt.train.checkpointing import drop_state
from adapt.train.pretraining import FoldResult
from adapt.train.records import read_record, write_record
from adapt.workflows.output_folder import FOLDS, TRAININGS, check_place
from adapt.workflows.recipe import Recipe
from adapt.workflows.run_facts import hash_inputs, plain

T = TypeVar("T")
RECIPE, RUN, STRUCTURE, RESULT = "recipe.yaml", "run.json", "structure.json", "result.json"
ENCODER = "encoder"
_FORMAT = 1
_SHOWN = 6
_APPEARS = 15.0  # seconds


def identity_of(recipe: Recipe, datasets: Sequence[Dataset], encoders: Mapping[str, str]) -> dict[str, Any]:
    """All that decides what a run ends with; a run is resumed only by one with the same identity.

    Args:
        recipe: with its defaults filled in.
        datasets: in the order of the command.
        encoders: modality -> identity.
    """
    settings = to_dict(recipe)
    del settings["loop"]["tracker"]  # who watches does not matter
    data = {
        dataset.name: {
            "items": dataset.report.items,
            "interactions": dataset.report.interactions,
            "with_text": dataset.report.with_text,
            "with_image": dataset.report.with_image,
            "sha256": hash_inputs(dataset),
        }
        for dataset in datasets
    }
    identity = {"format_version": _FORMAT, "recipe": settings, "data": data, "order": list(data)}
    found: dict[str, Any] = plain({**identity, "encoders": dict(encoders)})
    return found


@dataclass(eq=False)
class RunFolder:
    """A run that writes into ``path``; of several processes only the main one writes.

    Attributes:
        path: the folder.
        resumed: whether an earlier run of the same identity is continued.
        record: what ``run.json`` holds.
        stages: what this process has taken for each stage.
    """

    path: Path
    resumed: bool
    record: dict[str, Any]
    stages: Stages = field(default_factory=lambda: Stages(profile=True))

    @classmethod
    def start(cls, path: Path, recipe: Recipe, identity: Mapping[str, Any], asked: Mapping[str, Any]) -> RunFolder:
        """Begin a run, or continue the one in the folder where ``asked["resume"]`` says so and there is one.

        Args:
            path: the folder.
            recipe: with its defaults filled in; written to ``recipe.yaml``.
            identity: from :func:`identity_of`.
            asked: arguments of the run.

        Raises:
            UsageError: the run in the folder has another recipe, other data or encoders; says which.
            OutputError: the folder cannot be written.
        """
        run = cls.begin(path, "pretrain", identity, asked, recipe.seed)
        if ranks.is_main():
            with atomic_write(path / RECIPE) as handle:
                handle.write("# Every setting of the run in this folder; `adapt pretrain --recipe` reads it.\n")
                handle.write(yaml.safe_dump(to_dict(recipe), sort_keys=False, allow_unicode=True, width=120))
        return run

    @classmethod
    def begin(
        cls, path: Path, command: str, identity: Mapping[str, Any], asked: Mapping[str, Any], seed: int
    ) -> RunFolder:
        """Begin a run of any command, or continue the one in the folder where ``asked["resume"]`` says so.

        Args:
            path: the folder.
            command: what the run is of.
            identity: all that decides what it ends with.
            asked: arguments of the run.
            seed: of everything random.

        Raises:
            UsageError, OutputError: as :meth:`start`; or another process has other data or does not see the folder, or
                something else is in it.
        """
        found = plain(dict(identity))
        run = cls(path, False, {})
        if ranks.is_main():
            run = cls._of_main(path, command, found, asked, seed)
        resumed, record = ranks.agree([run.resumed, run.record])
        if not ranks.is_main():
            _check_same(path, record["identity"], found)
            _check_shared(path)
        return cls(path, resumed, record)

    @classmethod
    def _of_main(
        cls, path: Path, command: str, identity: Mapping[str, Any], asked: Mapping[str, Any], seed: int
    ) -> RunFolder:
        """What the main process finds in the folder, and writes there; the others are told."""
        earlier = _read_run(path / RUN) if asked.get("resume") else None
        if earlier is not None:
            _check_same(path, earlier["identity"], identity)
        else:
            check_place(path, command)
            for name in (FOLDS, TRAININGS):  # of an earlier run, which this one replaces
                shutil.rmtree(path / name, ignore_errors=True)
            drop_state(path)
            for name in (STRUCTURE, RESULT, RUN):  # the record last: it says whose the folders are
                (path / name).unlink(missing_ok=True)
        record = earlier or {"command": command, "finished": False, "resumed": 0, "seconds": {}}
        record |= {"arguments": plain(dict(asked)), "versions": versions(), "machine": processor(), "seed": seed}
        record["identity"] = identity
        record["resumed"] += int(earlier is not None)
        run = cls(path, earlier is not None, record)
        run._write()
        return run

    @property
    def finished(self) -> bool:
        """Whether a run of the same identity has ended here."""
        return bool(self.record["finished"])

    @property
    def seconds(self) -> float:
        """What the run has taken so far, with what was interrupted."""
        return float(sum(self.record["seconds"].values()))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to what the run has taken so far, and write it down.

        ``profile`` in the record has time and memory of the process that wrote it last.
        """
        started = time.monotonic()
        with self.stages.stage(name):
            yield
        seconds = self.record["seconds"]
        seconds[name] = round(seconds.get(name, 0.0) + time.monotonic() - started, 1)
        self.record["profile"] = self.stages.to_dict()
        self._write()

    def kept(self, path: Path, compute: Callable[[], T], pack: Callable[[T], Any], unpack: Callable[[Any], T]) -> T:
        """What an interrupted run has found and kept at ``path``, else what ``compute`` finds, which is kept there."""
        if self.resumed and path.is_file():
            return unpack(read_record(path))
        found = compute()
        if ranks.is_main():
            write_record(path, pack(found))
        ranks.barrier()
        return found if ranks.is_main() else unpack(read_record(path))  # processors differ in their last bit

    def fold(self, name: str, compute: Callable[[Path, bool], FoldResult]) -> FoldResult:
        """The result of leaving out one domain; ``compute`` gets its folder and whether to resume what is there."""
        folder = self.path / FOLDS / name
        return self.kept(folder / RESULT, lambda: compute(folder, self.resumed), _pack_fold, _unpack_fold)

    def folds(
        self, names: Sequence[str], compute: Callable[[Path, bool], Sequence[FoldResult]]
    ) -> tuple[FoldResult, ...]:
        """The results of leaving out several domains at once, in the order of ``names``; see :meth:`fold`."""
        paths = [self.path / FOLDS / name / RESULT for name in names]
        if self.resumed and all(path.is_file() for path in paths):
            return tuple(_unpack_fold(read_record(path)) for path in paths)
        found = tuple(compute(self.path / FOLDS / "+".join(names), self.resumed))
        for path, fold in zip(paths, found, strict=True) if ranks.is_main() else ():
            write_record(path, _pack_fold(fold))
        ranks.barrier()
        return found if ranks.is_main() else tuple(_unpack_fold(read_record(path)) for path in paths)

    def facts(self) -> dict[str, Any]:
        """Date, machine and time of the run so far, for ``metrics.json``: the only part of it that differs by run."""
        return {
            "date": datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
            "machine": self.record["machine"],
            "seconds": round(self.seconds),
            "resumed": self.record["resumed"],
            "peak_memory_bytes": peak_memory(),
        }

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write down that the run has ended, and what it came to."""
        self.record |= {"finished": True, "peak_memory_bytes": peak_memory(), "result": plain(dict(result))}
        self._write()

    def _write(self) -> None:
        if ranks.is_main():
            write_json(self.path / RUN, self.record)


def read_profile(folder: Path) -> dict[str, dict[str, Any]]:
    """What each stage of the run in a folder took, by the process that ran it last."""
    record = _read_run(folder / RUN) or {}
    return dict(record.get("profile", {}))


def _read_run(path: Path) -> dict[str, Any] | None:
    """What an earlier run wrote; None where there was none."""
    if not path.is_file():
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not {"identity", "seconds", "resumed", "finished"} <= set(record):
            raise ValueError("it is of no run that trains")
    except (OSError, ValueError, TypeError) as failure:
        raise CheckpointError(
            f"expected the record of a run in {path}, found: {failure}", "Start again without --resume."
        ) from failure
    return record


def _check_shared(path: Path) -> None:
    """Make sure that this process sees what the main one has written; a network's file system takes a moment."""
    until = time.monotonic() + _APPEARS
    while not (path / RUN).is_file():
        if time.monotonic() > until:
            raise UsageError(
                f"expected --output on a file system that all hosts share, found no {path / RUN} on {platform.node()}",
                "Choose a folder that every host sees under the same path.",
            )
        time.sleep(0.2)


def _check_same(path: Path, earlier: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    before, after = _flat(earlier), _flat(now)
    names = [name for name in {**before, **after} if before.get(name, "absent") != after.get(name, "absent")]
    if names:
        lines = [f"  {name}: {before.get(name, 'absent')!r} then, {after.get(name, 'absent')!r} now" for name in names]
        more = [f"  and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
        raise UsageError(
            f"expected the settings and data of the run in {path}, found others:\n" + "\n".join(lines[:_SHOWN] + more),
            "Choose another --output, or start again without --resume.",
        )


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, with dotted names."""
    if not isinstance(value, Mapping) or not value:
        return {prefix: value}
    return {
        name: part for key, inner in value.items() for name, part in _flat(inner, f"{prefix}.{key}".lstrip(".")).items()
    }


def _pack_fold(fold: FoldResult) -> dict[str, Any]:
    return {"source": fold.source, "start": fold.start, "trained": dict(fold.trained)}


def _unpack_fold(value: Any) -> FoldResult:
    return FoldResult(value["source"], value["start"], value["trained"])


def read_folds(path: Path) -> list[FoldResult]:
    """What the finished folds of the run in a folder found, in the order of their names."""
    return [_unpack_fold(read_record(found)) for found in sorted((path / FOLDS).glob(f"*/{RESULT}"))]
