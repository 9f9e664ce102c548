"""How every figure looks, and its two forms: a PNG, and an SVG that takes its colours from the page around it."""

import io
import re
from pathlib import Path
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from PIL import Image

from ...machine.files import atomic_write

# Okabe and Ito's colours (2008, jfly.uni-koeln.de/color), which colour-blind readers tell apart; each means one thing.
TRAIN, EVAL = "#0072b2", "#d55e00"
INK, MUTED, LINE, PAPER = "#1d1f23", "#5f646d", "#dcdfe4", "#ffffff"
# In an SVG each becomes a variable of the page's style sheet, which has a second set of them for the dark.
_VARIABLES = {TRAIN: "train", EVAL: "eval", INK: "ink", MUTED: "muted", LINE: "line", PAPER: "paper"}
# Nothing refers to these, and each figure has them.
_UNUSED_ID = r' id="(?:figure|axes|patch|text|line2d|legend|[xy]tick|matplotlib\.axis|\w+Collection)_\d+"'

# Calls of a function under it draw in this style.
styled = matplotlib.rc_context(
    {
        "font.size": 10.5,
        "text.color": INK,
        "text.parse_math": False,  # a class may be named $5
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "axes.edgecolor": MUTED,
        "axes.labelcolor": MUTED,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": LINE,
        "grid.linewidth": 0.8,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "lines.linewidth": 1.8,
    }
)


def save_png(figure: Figure, path: str | Path, dpi: int, true_colours: bool = False) -> None:
    """Writes the figure whole or not at all. Equal figures give equal bytes.

    Args:
        true_colours: else it has 256 colours at most, which takes a quarter of the bytes.
    """
    file = io.BytesIO()
    figure.savefig(file, dpi=dpi, format="png", pil_kwargs={"compress_level": 1})
    image = Image.open(file).convert("RGB")
    if not true_colours:
        image = image.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    with atomic_write(path) as temporary:
        image.save(temporary, "PNG", optimize=True)


def inline_svg(figure: Figure, name: str, alt: str) -> Markup:
    """The figure as an `<svg>` within a page, with the page's font and colours.

    Args:
        name: makes ids unique among the figures of a page.
        alt: what it shows, in words.
    """
    file = io.StringIO()
    nothing: dict[str, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    text = file.getvalue()
    text = text[text.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1)
    text = re.sub(_UNUSED_ID, "", text)
    text = re.sub(r"font-family: [^;\"]*(; ?)?", "", text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)  # matplotlib before 3.11
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    return Markup(text)
