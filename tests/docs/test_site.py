"""The documentation site: every package has a page, generated sections follow the code, nothing is remote."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = ROOT / "docs"


@pytest.fixture(autouse=True)
def _sphinx_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PAGES))


def packages() -> set[str]:
    """Packages of this project that have modules with public names, except the command line."""
    folders = {
        file.parent.relative_to(ROOT)
        for package in ("mav_lightning", "datamodules", "evaluation")
        for file in (ROOT / package).rglob("*.py")
        if "__all__" in file.read_text()
    }
    return {".".join(folder.parts) for folder in folders} - {"mav_lightning.cli"}


def test_every_package_has_a_page_in_the_reference() -> None:
    shown = [
        re.findall(r"generated: modules ([\w.]+)", page.read_text()) for page in (PAGES / "reference").glob("*.md")
    ]
    described = [package for one in shown for package in one]

    assert sorted(described) == sorted(packages())


def test_every_page_is_in_the_navigation() -> None:
    listed = set()
    for index in (PAGES / "index.md", PAGES / "reference" / "index.md"):
        for block in re.findall(r"```\{toctree\}\n(.*?)```", index.read_text(), re.DOTALL):
            names = [line for line in block.splitlines() if line and not line.startswith(":")]
            listed |= {(index.parent / f"{name}.md").resolve() for name in names}
    pages = {page for page in PAGES.rglob("*.md") if page.name != "report.md"} - {PAGES / "index.md"}

    assert listed == pages


def test_every_public_name_is_asked_of_the_reference() -> None:
    from sphinx_pages.completeness import undescribed
    from sphinx_pages.modules import defined_names

    from mav_lightning.diffusion import samplers

    assert {"ddim", "find_sampler"} <= set(defined_names(samplers))
    assert "SAMPLERS" not in defined_names(samplers)  # a constant
    missing = set(undescribed({"mav_lightning.diffusion.samplers.ddim"}))
    assert "mav_lightning.diffusion.samplers.heun is public, but no page of the reference describes it" in missing
    assert not any("samplers.ddim" in one for one in missing)


def test_scripts_and_styles_from_other_hosts_are_found(tmp_path: Path) -> None:
    from sphinx_pages.completeness import remote_assets

    (tmp_path / "a.html").write_text(
        '<a href="https://arxiv.org">a link is no asset</a><script src="_static/x.js"></script>'
        '<script defer src="https://cdn.example/x.js"></script>'
    )
    (tmp_path / "a.css").write_text("@font-face { src: url(//fonts.example/a.woff2) } b { background: url('b.png') }")

    assert list(remote_assets(tmp_path)) == [
        "a.css loads //fonts.example/a.woff2",
        "a.html loads https://cdn.example/x.js",
    ]


def test_links_to_files_of_the_repository_lead_to_their_pages() -> None:
    from sphinx_pages.repository import with_site_links

    text = "[a](../README.md#by-hand) [b](../tests/mylab/layers.py) [c](../conf/protocol) [d](studies.md) [e](#x)"
    assert with_site_links(text, "docs") == (
        "[a](index.md#by-hand) [b](../tests/mylab/layers.py) c [d](studies.md) [e](#x)"
    )
    assert with_site_links("```\n[a](../README.md)\n```", "docs") == "```\n[a](../README.md)\n```"


def test_the_readme_is_the_home_page() -> None:
    from sphinx_pages.repository import root_file

    home = root_file("README.md")
    assert "](python.md)" in home
    assert "](docs/" not in home
    assert "](contributing.md)" in home


def test_the_config_reference_shows_ranges_defaults_and_texts() -> None:
    from sphinx_pages.config_classes import fields_of, nameable_classes

    shown = fields_of("mav_lightning.nn.unet.SpaceTimeUNet without patch_size").splitlines()
    assert (
        shown[2]
        == "- **`channels`** (a whole number above 0; default `32`): Channels of the first level, a multiple of 8."
    )
    assert not any("patch_size" in line for line in shown)
    names = [name for name, _ in nameable_classes()]
    assert "datamodules.datamodule.ClipData" in names
    assert "mav_lightning.nn.base.TemporalLayer" not in names  # abstract


def test_the_command_reference_has_every_option() -> None:
    from sphinx_pages.commands import command_reference, commands

    from mav_lightning.cli.app import command_line

    shown = command_reference()
    for name, command in commands(command_line()):
        assert name == "mav" or f"# `{name}`\n" in shown
        for parameter in getattr(command, "params", []) if not hasattr(command, "commands") else []:
            assert parameter.param_type_name == "argument" or f"`{parameter.opts[0]}`" in shown
    assert "- `--jobs` `INTEGER` (at least 1; default `1`): Recipes: number of stages that run at once." in shown


def test_names_in_code_spans_lead_to_what_they_name() -> None:
    from sphinx_pages.code_links import index_of

    def entry(kind: str) -> SimpleNamespace:
        return SimpleNamespace(docname="page", node_id="anchor", objtype=kind)

    index = index_of(
        {
            "a.b.Net": entry("class"),
            "a.b.Net.forward": entry("method"),
            "a.b.Twin": entry("class"),
            "a.c.Twin": entry("class"),
            "a.b.run": entry("function"),
        }
    )
    assert sorted(index) == ["Net", "Net.forward", "a.b.Net", "a.b.Net.forward", "a.b.Twin", "a.b.run", "a.c.Twin"]
