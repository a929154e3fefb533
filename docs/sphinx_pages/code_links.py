"""Links from code spans: the name of a public class, of its method, or of a command leads to its description.

Docstrings and pages write such names in backticks. Class names are unique in this project, so a bare name is enough.
"""

import re
from collections.abc import Mapping

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

NAME = re.compile(r"[A-Za-z_][\w.]*")


class LinkCode(SphinxPostTransform):
    """Wrap literals that name something described on the site in references to it."""

    default_priority = 600

    def run(self, **kwargs: object) -> None:
        """Transform one page."""
        index = index_of(self.env.domains.python_domain.objects)
        labels = self.env.domains.standard_domain.anonlabels
        for node in list(self.document.findall(nodes.literal)):
            text = node.astext()
            if _is_inside(node, nodes.reference, nodes.title):
                continue
            if text.startswith("mav ") and (label := text.replace(" ", "-")) in labels:
                self._link(node, *labels[label][:2])
            elif NAME.fullmatch(text) and (found := index.get(text)):
                self._link(node, *found)

    def _link(self, node: nodes.literal, docname: str, anchor: str) -> None:
        here = self.env.docname
        node.replace_self(make_refnode(self.app.builder, here, docname, anchor, node.deepcopy()))


def index_of(objects: Mapping[str, object]) -> dict[str, tuple[str, str]]:
    """Return class, class.method or dotted name → page and anchor; names that several objects have are left out."""
    index: dict[str, tuple[str, str] | None] = {}
    classes = {name for name, entry in objects.items() if entry.objtype in ("class", "exception")}
    for name, entry in objects.items():
        place = entry.docname, entry.node_id
        owner, _, last = name.rpartition(".")
        short = None
        if name in classes:
            short = last
        elif owner in classes:
            short = f"{owner.rpartition('.')[2]}.{last}"
        for key in {name, short} - {None}:
            index[key] = None if key in index else place
    return {name: place for name, place in index.items() if place}


def _is_inside(node: nodes.Node, *kinds: type[nodes.Node]) -> bool:
    while node.parent is not None:
        node = node.parent
        if isinstance(node, kinds):
            return True
    return False


def setup(app: Sphinx) -> None:
    """Register the transform."""
    app.add_post_transform(LinkCode)
