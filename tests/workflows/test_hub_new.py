"""``adapt hub new``: a folder that can be filled and run as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapt.errors import OutputError, UsageError
from adapt.workflows.hub_new import new_folder
from adapt.workflows.recipe import load_recipe


def test_the_recipe_differs_from_that_for_own_data_in_its_names_only(tmp_path: Path) -> None:
    made = new_folder("org/shop-towers", tmp_path / "new")
    recipe, known = load_recipe(str(made.folder / "recipe.yaml")), load_recipe("own_data")
    assert (recipe.name, recipe.repository, recipe.license) == ("shop-towers", "org/shop-towers", "apache-2.0")
    same = ("encoders", "dims", "towers", "structure", "objectives", "loop", "mixtures", "trainable", "prior_count")
    assert all(getattr(recipe, name) == getattr(known, name) for name in same)
    steps = (made.folder / "README.md").read_text()
    assert all(command in steps for command in made.commands)
    assert "adapt hub push run/shop-towers org/shop-towers" in made.commands


def test_a_name_of_yaml_is_a_name(tmp_path: Path) -> None:
    assert load_recipe(str(new_folder("org/123", tmp_path / "new").folder / "recipe.yaml")).name == "123"


def test_the_folder_is_named_after_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert new_folder("org/shop").folder == Path("shop")
    with pytest.raises(OutputError, match="new or empty"):
        new_folder("org/shop")


@pytest.mark.parametrize("repo", ["shop", "a/b/c", "../shop", "org/", "hf://org/shop", "org/" + "x" * 100])
def test_what_names_no_repository_is_refused(repo: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="org/name"):
        new_folder(repo, tmp_path / "new")
