"""A Hub on loopback: the parts of its API that huggingface_hub uses to look, fetch and push, with faults on demand.

Real clients talk to it through ``HF_ENDPOINT``, in this process or another, with ``HF_HUB_DISABLE_XET=1``.
"""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from .fake_api import Api
from .fake_http import Asked, Fault
from .fake_store import Account, Repository, blob


class FakeHub:
    """Repositories, accounts and faults behind an HTTP server of its own thread.

    Attributes:
        endpoint: its address.
        storage: the address of large files: another host, which must not be shown the token.
        accounts: token -> whose it is; no token may read what is public.
        repositories: by ``org/name``.
        faults: in the order in which they are looked at.
        asked: every request.
        conflict: the status for a commit whose parent is not the newest.
        served: ``org/name/path`` -> bytes that are sent instead of the file's, under its name and hash.
    """

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.asked: list[Asked] = []
        self.conflict = 412
        self.served: dict[str, bytes] = {}
        self.lock = threading.RLock()
        handler = type("Handler", (Api,), {"hub": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        self.storage = f"http://localhost:{self.server.server_port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[FakeHub]:
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            self.server.server_close()
            thread.join()

    def put(
        self, name: str, files: Mapping[str, bytes] | Path, *, message: str = "A commit.", private: bool = False
    ) -> str:
        """Make a commit whose files are exactly these, or those of a folder; the repository is made if need be.

        Returns:
            The commit.
        """
        if isinstance(files, Path):
            paths = [path for path in files.rglob("*") if path.is_file()]
            files = {path.relative_to(files).as_posix(): path.read_bytes() for path in paths}
        repository = self.repositories.setdefault(name, Repository(name, private))
        made = repository.commit({path: blob(path, data) for path, data in files.items()}, message)
        return made.oid

    def environment(self, home: Path, token: str = "") -> dict[str, str]:
        """Variables for another process that is to use this Hub, with a cache of its own under ``home``."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_TOKEN": token,
        }

    def files(self, name: str, revision: str = "main") -> dict[str, bytes]:
        """The files of a revision."""
        commit = self.repositories[name].find(revision)
        assert commit is not None
        return {path: found.data for path, found in commit.files.items()}

    def fetched(self) -> list[str]:
        """The files whose content was sent, in order."""
        places = ("/resolve/", "/cdn/")
        paths = [asked.path for asked in self.asked if asked.method == "GET"]
        return [path.split("/", 5)[5] for path in paths if any(place in path for place in places)]
