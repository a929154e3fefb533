"""The lock files in requirements/ cover pyproject.toml: after a change there, `make lock` writes them anew."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "requirements"
LOCKS = sorted(file.name for file in FOLDER.glob("*.lock"))


def entries(name: str) -> list[str]:
    """Requirements of a lock file, each with its hashes on one line."""
    text = re.sub(r"^\s*#.*\n", "", (FOLDER / name).read_text(), flags=re.MULTILINE)
    return text.replace("\\\n", " ").splitlines()


def pins(*names: str) -> dict[str, str]:
    """Package → version, over several lock files."""
    found = [re.match(r"([\w.-]+)==([\w.]+)", entry) for name in names for entry in entries(name)]
    return {match[1]: match[2] for match in found if match}


def declared(*extras: str) -> list[Requirement]:
    """Requirements in pyproject.toml with these extras and the extras that they name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    texts = [*project["dependencies"], *(text for extra in extras for text in optional[extra])]
    needed = [Requirement(text) for text in texts]
    nested = {extra for one in needed if one.name == project["name"] for extra in one.extras}
    needed += [Requirement(text) for extra in nested for text in optional[extra]]
    return [one for one in needed if one.name != project["name"]]


@pytest.mark.parametrize("name", LOCKS)
def test_every_entry_is_one_version_with_hashes(name: str) -> None:
    pinned = re.compile(r"[\w.-]+==[\w.]+( ; [^#]+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*")
    assert not [entry[:80] for entry in entries(name) if not pinned.fullmatch(entry)]


@pytest.mark.parametrize("name", LOCKS)
def test_no_lock_names_an_index_or_a_folder(name: str) -> None:
    assert not re.findall(r"\S*://\S*|--\w+-url\S*|--find-links\S*| @ \S+", (FOLDER / name).read_text())


@pytest.mark.parametrize(("name", "extras"), [("core.lock", []), ("dev.lock", ["dev"])])
@pytest.mark.parametrize("torch", ["torch-cpu.lock", "torch-pypi.lock"])
def test_the_locks_cover_what_the_project_declares(name: str, extras: list[str], torch: str) -> None:
    versions = pins(name, torch)
    wrong = [
        str(one)
        for one in declared(*extras)
        if not one.specifier.contains(versions.get(canonicalize_name(one.name), "0"))
    ]
    assert not wrong, f"run `make lock`: {name} and {torch} do not fit {', '.join(wrong)}"


def test_users_and_developers_get_the_same_versions() -> None:
    core, dev = pins("core.lock"), pins("dev.lock")
    assert core.items() <= dev.items()
    assert pins("torch-cpu.lock").items() <= pins("torch-pypi.lock").items()
