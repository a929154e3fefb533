"""Sphinx configuration of the documentation site; `make docs` builds it offline and fails at the first warning."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(Path(__file__).parent))

from mav_lightning import __version__  # noqa: E402
from mav_lightning.common.torchvision_shim import ensure_torchvision_imports  # noqa: E402

ensure_torchvision_imports()

from sphinx_pages.docstrings import show_type  # noqa: E402

project = "mav-lightning"
author = "The mav-lightning authors"
copyright = f"2026, {author}"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_autodoc_typehints",
    "sphinx_copybutton",
    "sphinx_pages",
]
exclude_patterns = ["sphinx_pages", "_static"]
nitpicky = True
smartquotes = False  # they make one dash of the two of an option
show_warning_types = True

# Pages are Markdown that GitHub shows as well: anchors are those of GitHub.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

# The reference: constructor arguments with their types in a list, instead of in an unreadably long signature.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "show-inheritance": True, "special-members": "__call__"}
add_module_names = False
python_display_short_literal_types = True
maximum_signature_line_length = 100
toc_object_entries_show_parents = "hide"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("References", "notes_style")]
always_use_bars_union = True
typehints_defaults = "comma"
typehints_formatter = show_type
# A name of ours that leads nowhere is an error. Other projects' documentation is not read: the site is built offline.
nitpick_ignore_regex = [
    ("py:.*", r"(?!mav_lightning\.|datamodules\.|evaluation\.).*"),
    ("py:class", r".*\._\w+"),  # private bases
    ("py:obj", r".*"),  # type variables of generic bases
]
suppress_warnings = ["config.cache"]  # `typehints_formatter` is a function

html_theme = "furo"
html_title = f"mav-lightning {__version__}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sphinx = False
html_math_renderer = "mathml"
copybutton_exclude = ".linenos, .gp, .go"
