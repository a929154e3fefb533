"""Checks of the built site: the reference misses no public name, and nothing is loaded from another host."""

import re
from collections.abc import Iterator
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import SphinxError

from sphinx_pages.modules import defined_names, public_modules

REMOTE = {
    ".html": re.compile(r"<(?:script|img|link|iframe|source|video)\b[^>]*?(?:src|href)=\"((?:https?:)?//[^\"]+)"),
    ".css": re.compile(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s]+)"),
    ".js": re.compile(r"(?:import\(|fetch\(|\.src\s*=)\s*[\"'`]((?:https?:)?//[^\"'`]+)"),
}


def undescribed(described: set[str]) -> Iterator[str]:
    """Yield the public classes and functions that are not among those described."""
    for module in public_modules():
        for name in defined_names(module):
            if f"{module.__name__}.{name}" not in described:
                yield f"{module.__name__}.{name} is public, but no page of the reference describes it"


def remote_assets(site: Path) -> Iterator[str]:
    """Yield the scripts, styles, fonts and pictures that a built site loads from another host."""
    for file in sorted(site.rglob("*")):
        if pattern := REMOTE.get(file.suffix):
            for found in pattern.finditer(file.read_text(errors="replace")):
                yield f"{file.relative_to(site)} loads {found[1]}"


def _check(app: Sphinx, exception: Exception | None) -> None:
    if exception is not None:
        return
    faults = [*undescribed(set(app.env.domains.python_domain.objects)), *remote_assets(Path(app.outdir))]
    if faults:
        raise SphinxError("\n".join(faults))


def setup(app: Sphinx) -> None:
    """Check after every build."""
    app.connect("build-finished", _check)
