"""The routes of a fake Hub that huggingface_hub's clients use."""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

import yaml

from .fake_http import Answer, Handler
from .fake_store import LFS_SIZE, Blob, Commit, Repository, blob


class Api(Handler):
    """Who asks is known, and nothing of the store changes meanwhile; each method gives what sends the answer."""

    # -- who may

    def visible(self, name: str) -> Repository | None:
        found = self.hub.repositories.get(name)
        if found is None or (found.private and not (self.account and self.account.sees(name))):
            return None
        return found

    def looked_up(self, name: str, revision: str = "") -> Answer | tuple[Repository, Commit]:
        """A repository and a commit of it, or why they cannot be had."""
        found = self.visible(name)
        if found is None:
            return self.refusal(404 if self.account else 401, "RepoNotFound", "Repository not found")
        if found.gated and not (self.account and self.account.sees(name)):
            return self.refusal(403 if self.account else 401, "GatedRepo", f"Access to model {name} is restricted.")
        commit = found.find(revision or "main")
        if commit is None:
            return self.refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return found, commit

    def may_not_write(self, name: str) -> Answer | None:
        if self.account is None:
            return self.refusal(401, "", "Invalid username or password.")
        if not self.account.writes(name):
            return self.refusal(403, "", f"You don't have the rights to write to {name}")
        return None

    # -- looking

    def who(self) -> Answer:
        if self.account is None:
            return self.refusal(401, "", "Invalid credentials in Authorization header")
        orgs = [{"type": "org", "name": name, "fullname": name} for name in self.account.organisations]
        token = {"accessToken": {"displayName": "t", "role": self.account.role}}
        return self.json({"type": "user", "id": "1", "name": self.account.name, "orgs": orgs, "auth": token})

    def models(self) -> Answer:
        author, wanted = self.query.get("author"), self.query.get("filter", "")
        found = []
        for name, repository in self.hub.repositories.items():
            tags = repository.tags_of_card() if repository.branches else []
            if self.visible(name) and author in (None, name.split("/")[0]) and set(wanted.split(",")) - {""} <= {*tags}:
                found.append(
                    self.described(repository, repository.commits[repository.branches["main"]]) | {"tags": tags}
                )
        return self.json(found)

    def described(self, repository: Repository, commit: Commit) -> dict[str, Any]:
        blobs = self.query.get("blobs", "").lower() in ("1", "true")
        siblings = []
        for path, found in commit.files.items():
            more = {"size": len(found.data), "blobId": found.oid} if blobs else {}
            if blobs and found.lfs:
                more["lfs"] = {"size": len(found.data), "sha256": found.sha256, "pointerSize": 130}
            siblings.append({"rfilename": path, **more})
        return {
            "id": repository.name,
            "modelId": repository.name,
            "sha": commit.oid,
            "private": repository.private,
            "gated": "manual" if repository.gated else False,
            "lastModified": "2026-01-02T03:04:05.000Z",
            "siblings": siblings,
            "tags": repository.tags_of_card(),
        }

    def info(self, name: str, revision: str = "") -> Answer:
        found = self.looked_up(name, revision)
        return found if callable(found) else self.json(self.described(*found))

    def tree(self, name: str, revision: str, folder: str | None = None) -> Answer:
        found = self.looked_up(name, revision)
        if callable(found):
            return found
        inside = f"{folder}/" if folder else ""
        entries = []
        for path, part in found[1].files.items():
            if path.startswith(inside):
                entry: dict[str, Any] = {"type": "file", "path": path, "size": len(part.data), "oid": part.oid}
                if part.lfs:
                    entry["lfs"] = {"oid": part.sha256, "size": len(part.data), "pointerSize": 130}
                entries.append(entry)
        return self.json(entries)

    def refs(self, name: str) -> Answer:
        found = self.looked_up(name)
        if callable(found):
            return found
        kinds = {"branches": found[0].branches, "tags": found[0].tags}
        folders = {"branches": "heads", "tags": "tags"}
        return self.json(
            {"converts": [], "pullRequests": []}
            | {
                kind: [
                    {"name": ref, "ref": f"refs/{folders[kind]}/{ref}", "targetCommit": oid}
                    for ref, oid in names.items()
                ]
                for kind, names in kinds.items()
            }
        )

    def resolve(self, name: str, revision: str, path: str) -> Answer:
        found = self.looked_up(name, revision)
        if callable(found):
            return found
        repository, commit = found
        part = commit.files.get(path)
        if part is None:
            return self.refusal(404, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{part.etag}"', "Accept-Ranges": "bytes"}
        if part.lfs:
            headers |= {"X-Linked-Etag": f'"{part.sha256}"', "X-Linked-Size": str(len(part.data))}
            place = urllib.parse.quote(f"/cdn/{repository.name}/{commit.oid}/{path}")
            headers["Location"] = f"{self.hub.storage}{place}?Signature=secret-of-the-cdn"
            return lambda: self.reply(302, b"", headers=headers)
        return self.body(f"{repository.name}/{path}", part, headers)

    def cdn(self, name: str, revision: str, path: str) -> Answer:
        part = self.hub.repositories[name].commits[revision].files[path]
        return self.body(f"{name}/{path}", part, {"ETag": f'"{part.etag}"', "Accept-Ranges": "bytes"})

    def body(self, place: str, part: Blob, headers: Mapping[str, str]) -> Answer:
        data = self.hub.served.get(place, part.data)
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if not wanted:
            return lambda: self.reply(200, data, "application/octet-stream", headers)
        first = int(wanted[1])
        if first >= len(data):
            return lambda: self.reply(416, b"", headers={"Content-Range": f"bytes */{len(data)}"})
        span = {"Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"}
        return lambda: self.reply(206, data[first:], "application/octet-stream", {**headers, **span})

    # -- writing

    def create(self) -> Answer:
        wanted = json.loads(self.content)
        owner = wanted.get("organization") or (self.account.name if self.account else "")
        name = f"{owner}/{wanted['name']}"
        if refused := self.may_not_write(name):
            return refused
        url = {"url": f"{self.hub.endpoint}/{name}", "name": name, "id": name}
        if name in self.hub.repositories:
            return self.json({**url, "error": "You already created this model repo"}, 409)
        private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        made = self.hub.repositories[name] = Repository(name, private)
        made.commit({".gitattributes": Blob(b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n", False)}, "initial")
        return self.json(url)

    def card(self) -> Answer:
        parts = json.loads(self.content)["content"].split("---\n", 2)
        errors = []
        try:
            front = yaml.safe_load(parts[1]) if len(parts) == 3 else {}
            if not isinstance(front, dict):
                errors.append({"message": "metadata is no mapping"})
        except yaml.YAMLError as failure:
            errors.append({"message": str(failure)})
        return self.json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def preupload(self, name: str, revision: str) -> Answer:
        found = self.looked_up(name, revision)
        if refused := self.may_not_write(name):
            return refused
        if callable(found):
            return found
        files = []
        for wanted in json.loads(self.content)["files"]:
            there = found[1].files.get(wanted["path"])
            large = blob(wanted["path"], b"").lfs or wanted["size"] > LFS_SIZE
            files.append(
                {
                    "path": wanted["path"],
                    "uploadMode": "lfs" if large else "regular",
                    "shouldIgnore": False,
                    "oid": there.etag if there else None,
                }
            )
        return self.json({"files": files})

    def batch(self, name: str) -> Answer:
        if refused := self.may_not_write(name):
            return refused
        objects = []
        for wanted in json.loads(self.content)["objects"]:
            entry = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.large:
                place = f"{self.hub.storage}/large/{wanted['oid']}"
                entry["actions"] = {
                    "upload": {"href": f"{place}?Signature=secret-of-the-cdn"},
                    "verify": {"href": place + "/verify"},
                }
            objects.append(entry)
        return self.json({"transfer": "basic", "objects": objects})

    def upload(self, oid: str) -> Answer:
        found = Blob(self.content, True)
        if found.sha256 != oid:
            return self.refusal(400, "", f"content is {found.sha256}, not {oid}")
        self.hub.large[oid] = self.content
        return self.json({})

    def uploaded(self, oid: str) -> Answer:
        size = json.loads(self.content)["size"]
        there = self.hub.large.get(oid)
        return self.json({}) if there is not None and len(there) == size else self.refusal(404, "", "not uploaded")

    def commit(self, name: str, revision: str) -> Answer:
        if refused := self.may_not_write(name):
            return refused
        found = self.looked_up(name, revision)
        if callable(found):
            return found
        repository, newest = found
        lines = [json.loads(line) for line in self.content.splitlines()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        if header.get("parentCommit") not in (None, newest.oid):
            return self.refusal(self.hub.conflict, "", "A commit has happened since. Please refresh and try again.")
        files = dict(newest.files)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]), False)
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.large:
                    return self.refusal(400, "", f"large file {value['oid']} was not uploaded")
                files[value["path"]] = Blob(self.hub.large[value["oid"]], True)
            elif line["key"] == "deletedFile":
                files.pop(value["path"], None)
        made = repository.commit(files, header["summary"], revision)
        url = f"{self.hub.endpoint}/{name}/commit/{made.oid}"
        return self.json({"success": True, "commitOid": made.oid, "commitUrl": url, "hookOutput": ""})

    def reference(self, name: str, kind: str, ref: str) -> Answer:
        if refused := self.may_not_write(name):
            return refused
        wanted = json.loads(self.content or b"{}")
        found = self.looked_up(name, ref if kind == "tag" else wanted.get("startingPoint") or "")
        if callable(found):
            return found
        repository, commit = found
        if kind == "tag":
            repository.tags[wanted["tag"]] = commit.oid
        else:
            repository.branches[ref] = commit.oid
        return self.json({}, 201)


_NAME = r"(?P<name>[^/]+/[^/]+)"
_MODEL = rf"/api/models/{_NAME}"
_REVISION = r"(?P<revision>[^/]+)"
Api.routes = (
    (r"GET /api/whoami-v2", Api.who),
    (r"GET /api/models", Api.models),
    (rf"GET {_MODEL}", Api.info),
    (rf"GET {_MODEL}/revision/{_REVISION}", Api.info),
    (rf"GET {_MODEL}/tree/{_REVISION}(/(?P<folder>.+))?", Api.tree),
    (rf"GET {_MODEL}/refs", Api.refs),
    (r"POST /api/repos/create", Api.create),
    (r"POST /api/validate-yaml", Api.card),
    (rf"POST {_MODEL}/preupload/{_REVISION}", Api.preupload),
    (rf"POST {_MODEL}/commit/{_REVISION}", Api.commit),
    (rf"POST {_MODEL}/(?P<kind>branch|tag)/(?P<ref>.+)", Api.reference),
    (rf"POST /{_NAME}\.git/info/lfs/objects/batch", Api.batch),
    (r"PUT /large/(?P<oid>[0-9a-f]{64})", Api.upload),
    (r"POST /large/(?P<oid>[0-9a-f]{64})/verify", Api.uploaded),
    (rf"(GET|HEAD) /{_NAME}/resolve/{_REVISION}/(?P<path>.+)", Api.resolve),
    (rf"(GET|HEAD) /cdn/{_NAME}/{_REVISION}/(?P<path>.+)", Api.cdn),
)
