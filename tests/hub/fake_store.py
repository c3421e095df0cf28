"""What a fake Hub keeps: repositories as git has them, large files by their hash, and who may do what."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

LFS_SUFFIXES = (".safetensors", ".bin", ".pt", ".parquet")
LFS_SIZE = 10 << 20


@dataclass(frozen=True)
class Blob:
    """A file's content and how it is stored."""

    data: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def oid(self) -> str:
        """As git names it: of the content, or of the pointer to a large file."""
        data = self.data
        if self.lfs:
            data = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(data)}\n".encode()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str
    message: str
    files: Mapping[str, Blob]


@dataclass
class Repository:
    """The history of one repository; ``refs`` are branches and tags by name."""

    name: str
    private: bool = False
    gated: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def find(self, revision: str) -> Commit | None:
        """The commit of a branch, a tag, a whole hash or the beginning of one."""
        oid = self.branches.get(revision) or self.tags.get(revision) or revision
        if oid in self.commits:
            return self.commits[oid]
        found = [commit for name, commit in self.commits.items() if len(oid) >= 7 and name.startswith(oid)]
        return found[0] if len(found) == 1 else None

    def commit(self, files: Mapping[str, Blob], message: str, branch: str = "main") -> Commit:
        """A commit whose files are exactly these, on top of a branch."""
        parent = self.branches.get(branch, "")
        listing = "".join(f"{name} {blob.oid}\n" for name, blob in sorted(files.items()))
        oid = hashlib.sha1(f"{self.name} {parent} {len(self.commits)} {message}\n{listing}".encode()).hexdigest()
        made = self.commits[oid] = Commit(oid, parent, message, dict(files))
        self.branches[branch] = oid
        return made

    def tags_of_card(self) -> list[str]:
        """The tags that the card's front matter names, and its library."""
        card = self.commits[self.branches["main"]].files.get("README.md")
        parts = card.data.decode().split("---\n", 2) if card else []
        front = yaml.safe_load(parts[1]) if len(parts) == 3 else {}
        return [*front.get("tags", []), *([front["library_name"]] if "library_name" in front else [])]


@dataclass(frozen=True)
class Account:
    """Whose a token is: may write to repositories of its name and its organisations, or only read them."""

    name: str
    organisations: tuple[str, ...] = ()
    role: str = "write"

    def sees(self, repository: str) -> bool:
        return repository.split("/", 1)[0] in (self.name, *self.organisations)

    def writes(self, repository: str) -> bool:
        return self.role == "write" and self.sees(repository)


def blob(path: str, data: bytes) -> Blob:
    """Stored as the Hub would store it: some types and everything large outside of git."""
    return Blob(data, path.endswith(LFS_SUFFIXES) or len(data) > LFS_SIZE)
