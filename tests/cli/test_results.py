"""How a result is printed, as JSON and for a person."""

from __future__ import annotations

import contextlib
import errno
import json
import tempfile
from pathlib import Path

import pytest

from adapt.cli import preflight, results
from adapt.errors import OutputError
from tests.report.conftest import Make, make  # noqa: F401 - the fixture


def test_the_document_is_strict_json_without_padding(make: Make) -> None:  # noqa: F811
    document = json.loads(json.dumps(results.document(make(), {}), allow_nan=False))
    first = document["recommendations"][0]
    assert first["user_id"] == "thing-user-0"
    assert [item["rank"] for item in first["items"]] == [1, 2, 3]
    assert document["self_check"]["recall_interval"] == [0.4, 0.8]


def test_similar_items_are_keyed_by_item(make: Make) -> None:  # noqa: F811
    assert "item_id" in results.document(make(mode="similar"), {})["recommendations"][0]


def test_titles_cannot_style_or_drive_the_terminal(
    make: Make,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    results.show(make(text="[red]x[/red]\x1b[2J"), {})
    captured = capsys.readouterr()
    assert "[red]x[/red]" in captured.out
    assert "\x1b" not in captured.out
    assert "--output" in captured.err


def test_a_folder_that_can_be_made_is_not_made_by_looking(tmp_path: Path) -> None:
    preflight.writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        preflight.writable(tmp_path / "file")


@pytest.mark.parametrize(
    ("wrote", "command", "free"),
    [
        ('{"command": "few-shot"}', "zero-shot", True),
        ('{"command": "finetune"}', "finetune", True),
        ('{"command": "finetune"', "finetune", True),  # half a file, of a disk that was full
        ('{"command": "finetune"}', "evaluate", False),
        ('{"command": "evaluate"}', "recommend", False),
        ('{"seed": 3}', "zero-shot", False),
        ("[]", "finetune", False),
    ],
)
def test_what_another_command_wrote_is_not_spoilt(tmp_path: Path, wrote: str, command: str, free: bool) -> None:
    (tmp_path / "run.json").write_text(wrote)
    with contextlib.nullcontext() if free else pytest.raises(OutputError, match=r"another --output"):
        preflight.place(tmp_path, command)
    assert (tmp_path / "run.json").read_text() == wrote


def test_a_folder_that_may_not_be_written_to_is_named_with_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(OutputError, match="found: Permission denied") as caught:
        preflight.place(tmp_path / "new", "zero-shot")
    assert "choose another --output or change its permissions" in caught.value.hint
