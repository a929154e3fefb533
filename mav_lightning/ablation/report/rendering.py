"""Rendering of figures: inline SVG in the colors and fonts of the page, and PDF and SVG files for a paper's column."""

import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from mav_lightning.common.escaping import file_name, plot_text
from mav_lightning.common.whole_file import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLORS", "FOLDER", "Draw", "Palette", "Plot", "inline_svg", "write_figures"]

COLORS = 10  # reused cyclically by further variants
FOLDER = "figures"
_CREATOR = "mav-lightning report"  # marks our files
_STYLE = Path(__file__).parent / "assets" / "report.css"
_COLUMN, _HEIGHT = 3.25, 2.1  # inches: a column of a paper in two columns, and of the page


@dataclass(frozen=True)
class Palette:
    """Colors of a figure.

    Attributes:
        ink: Color of text.
        muted: Color of secondary text and lines.
        rule: Color of axes.
        variants: Colors of variants.
    """

    ink: str
    muted: str
    rule: str
    variants: tuple[str, ...]

    def variant(self, index: int) -> str:
        """Return the color of the variant at `index` in the study's order."""
        return self.variants[index % len(self.variants)]


Draw = Callable[["Axes", Palette], None]
"""Draws data on axes, in the colors of a palette."""


@dataclass(frozen=True)
class Plot:
    """A figure that has not been drawn.

    Attributes:
        name: Name, unique in the report.
        title: Title on the page.
        label: Label of the vertical axis, which a file shows in place of a title.
        words: Explanation below the figure. Empty for none.
        draw: Draws the data on axes.
        legend: Variant → its index in the study's order, for the variants that the axes do not name.
        note: Sentence shown under the figure on the page; empty for none.
    """

    name: str
    title: str
    label: str
    words: str
    draw: Draw
    legend: dict[str, int] = field(default_factory=dict)
    note: str = ""


# Placeholders, which variables of the page replace, so that one drawing serves the light and the dark theme.
_PAGE = Palette("#010101", "#020202", "#030303", tuple(f"#0404{index:02x}" for index in range(COLORS)))


def inline_svg(plot: Plot) -> Markup:
    """Render a figure for the page, without its legend, which the page shows once per section."""
    with _styled(_PAGE, {"svg.fonttype": "none", "svg.hashsalt": plot.name}):
        figure = _figure(plot, _PAGE)
        axes = figure.axes[0]
        axes.set_title(plot_text(plot.title), loc="left", fontsize=9.5, pad=18 if plot.words else 6)
        above: Any = {"xycoords": "axes fraction", "textcoords": "offset points"}
        axes.annotate(plot_text(plot.words), (0, 1), (0, 6), color=_PAGE.muted, fontsize=8, **above)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Markup(_themed(buffer.getvalue()))


def write_figures(plots: Iterable[Plot], folder: Path) -> list[Path]:
    """Write each figure as PDF with embedded TrueType fonts, and as SVG with text as outlines.

    Args:
        plots: The figures.
        folder: Folder of the files. Figures of an earlier report that are not drawn again are deleted; others stay.

    Returns:
        The files.
    """
    palette, written = _light_theme(), list[Path]()
    for plot in plots:
        style = {"svg.fonttype": "path", "svg.hashsalt": plot.name, "pdf.fonttype": 42, "font.size": 8.0}
        with _styled(palette, style):
            figure = _figure(plot, palette)
            figure.axes[0].set_ylabel(plot_text(plot.label), color=palette.ink)
            _add_legend(figure, plot, palette)
            for suffix, undated in (("pdf", {"CreationDate": None}), ("svg", {"Date": None})):
                file = folder / f"{file_name(plot.name)}.{suffix}"
                with whole_file(file) as partial:
                    figure.savefig(partial, format=suffix, metadata=undated | {"Creator": _CREATOR})
                written.append(file)
    for file in {*folder.glob("*.pdf"), *folder.glob("*.svg")} - set(written):
        if _CREATOR.encode() in file.read_bytes():
            file.unlink()
    return written


def _figure(plot: Plot, palette: Palette) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_COLUMN, _HEIGHT), layout="constrained")
    plot.draw(figure.subplots(), palette)
    return figure


def _add_legend(figure: "Figure", plot: Plot, palette: Palette) -> None:
    if not plot.legend:
        return
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], marker="o", color=palette.variant(index), markersize=4) for index in plot.legend.values()]
    names = [plot_text(name) for name in plot.legend]
    columns = max(1, min(len(names), int(_COLUMN / (0.35 + 0.065 * max(map(len, names))))))
    figure.legend(
        handles, names, loc="outside upper center", ncols=columns, frameon=False, fontsize=7.5, handlelength=1.2
    )


@contextmanager
def _styled(palette: Palette, own: dict[str, Any]) -> Iterator[None]:
    """Draw with our own settings alone: whatever a matplotlibrc sets, and names are never read as formulas."""
    from matplotlib import style

    settings: Any = {
        "text.parse_math": False,
        "font.size": 8.5,
        "text.color": palette.ink,
        "axes.labelcolor": palette.muted,
        "axes.edgecolor": palette.rule,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": palette.rule,
        "ytick.color": palette.rule,
        "xtick.labelcolor": palette.ink,
        "ytick.labelcolor": palette.muted,
    }
    with style.context(["default", settings | own]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the browser has it
        yield


@cache
def _light_theme() -> Palette:
    """Read the colors of the page's light theme from its style sheet."""
    found = dict(re.findall(r"--(\w+): light-dark\((#\w+),", _STYLE.read_text()))
    return Palette(found["ink"], found["muted"], found["rule"], tuple(found[f"v{i}"] for i in range(COLORS)))


def _themed(svg: str) -> str:
    """Replace placeholders by the page's variables, inside tags only, as names of variants may look like them."""
    names = {_PAGE.ink: "--ink", _PAGE.muted: "--muted", _PAGE.rule: "--rule"}
    names |= {color: f"--v{index}" for index, color in enumerate(_PAGE.variants)}

    def themed(tag: re.Match[str]) -> str:
        text = re.sub("|".join(names), lambda found: f"var({names[found[0]]})", tag[0])
        text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px var(--sans)", text)
        return re.sub(r'<g id="[^"]*"', "<g", text)  # not referenced, and ids must be unique within a page

    body = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    return re.sub(r"<[^>]*>", themed, body)
