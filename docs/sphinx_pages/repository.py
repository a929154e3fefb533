"""Files outside of ``docs``: those of the root that are pages of the site, and links to all others."""

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
# File of the root → page that shows it.
PAGES = {
    "README.md": "docs/index.md",
    "CHANGELOG.md": "docs/changelog.md",
    "CONTRIBUTING.md": "docs/contributing.md",
    "SECURITY.md": "docs/security-policy.md",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
CODE = re.compile(r"(```.*?```)", re.DOTALL)


def root_file(name: str) -> str:
    """Return a file of the root, with its links as they are for a page in ``docs``."""
    return _relinked((ROOT / name).read_text(), "", "docs")


def with_site_links(text: str, folder: str) -> str:
    """Return a page whose links to files outside of ``docs`` lead to their pages.

    Args:
        text: Markdown.
        folder: Folder of the page, relative to the repository's root, for example ``docs/results``.
    """
    return _relinked(text, folder, folder)


def _relinked(text: str, written_in: str, shown_in: str) -> str:
    """Change the links of a text written for one folder to those for another."""

    def moved(link: re.Match[str]) -> str:
        image, label, target, anchor = link[1], link[2], link[3], link[4] or ""
        if re.match(r"https?:|mailto:", target):
            return link[0]
        file = posixpath.normpath(posixpath.join(written_in, target))
        if (ROOT / file).is_dir():
            return label  # folders of the repository are not part of the site
        return f"{image}[{label}]({posixpath.relpath(PAGES.get(file, file), shown_in)}{anchor})"

    parts = CODE.split(text)
    return "".join(part if part.startswith("```") else LINK.sub(moved, part) for part in parts)
