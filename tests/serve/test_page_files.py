"""What the page is made of: plain files of the package that ask nobody else for anything."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib import resources

import pytest
from starlette.testclient import TestClient

FILES = sorted(file.name for file in (resources.files("adapt.serve") / "page").iterdir())
NAMESPACE = "http://www.w3.org/2000/svg"


class Document(HTMLParser):
    """Everything in a document that a policy without inline script and style forbids, and what it refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.forbidden: list[str] = []
        self.named: list[str] = []
        self.labels: set[str] = set()
        self.fields: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "style" or (tag == "script" and "src" not in given):
            self.forbidden.append(tag)
        self.forbidden += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        self.named += [str(given[name]) for name in ("src", "href") if name in given]
        if tag == "label":
            self.labels.add(str(given.get("for")))
        if tag in ("input", "textarea"):
            self.fields.add(str(given.get("id")))


def test_every_file_is_served_and_asks_nobody_else(client: TestClient) -> None:
    for name in FILES:
        answer = client.get(f"/page/{name}")
        assert answer.status_code == 200
        assert set(re.findall(r"[a-z]+://[^\s\"')]*", answer.text)) <= {NAMESPACE}
        assert client.get(f"/page/{name}", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304


def test_the_document_holds_no_script_no_style_and_names_every_field(client: TestClient) -> None:
    answer = client.get("/")
    document = Document()
    document.feed(answer.text)
    assert document.forbidden == []
    assert document.fields == document.labels
    for reference in document.named:
        assert reference.startswith(("page/", "#")) or reference == "openapi.json"
        assert client.get(f"/{reference}").status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".js")])
def test_a_module_never_parses_text_as_markup(name: str) -> None:
    code = (resources.files("adapt.serve") / "page" / name).read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", code)
    assert len(code.splitlines()) < 400
    for imported in re.findall(r'from "\./([^"]+)"', code):
        assert imported in FILES
