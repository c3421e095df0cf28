"""Write the bundled checkpoints again as today's code writes them; their weights keep every byte.

    python recipes/resave_pretrained.py && python recipes/index_pretrained.py

Needed after the format has gained a file, such as the golden outputs. Cards and hashes are made anew; a change of any
other file that was there is an error, and the checkpoint is then left as it was.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from adapt.files import bundled, sha256_file
from adapt.hub.format import Checkpoint
from adapt.hub.sums import verify_hashes

MADE_ANEW = {"README.md", "SHA256SUMS"}


def hashes(folder: Path) -> dict[str, str]:
    """Name -> sha256 of every file whose bytes have to stay."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in MADE_ANEW]
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in paths}


def resave(folder: Path) -> str:
    """Write one checkpoint again; what was added, in words.

    Raises:
        SystemExit: a file that was there would change.
    """
    before = hashes(folder)
    checkpoint = Checkpoint.from_pretrained(str(folder))
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint.save_pretrained(Path(scratch) / folder.name)
        after = hashes(Path(scratch) / folder.name)
    changed = sorted(name for name, digest in before.items() if after.get(name) != digest)
    if changed:
        raise SystemExit(f"{folder.name}: {', '.join(changed)} would change")
    checkpoint.save_pretrained(folder, replace=True)
    added = sorted(set(after) - set(before))
    return f"{folder.name}: {verify_hashes(folder)[:12]}, new: {', '.join(added) or 'nothing'}"


def main() -> None:
    for spec in sorted(bundled("pretrained").glob("*/feature_spec.json")):
        print(resave(spec.parent))


if __name__ == "__main__":
    main()
