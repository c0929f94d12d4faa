"""The house style: quiet, colour-blind safe, drawn with matplotlib's object-oriented interface.

Nothing here touches pyplot, a display or the caller's rcParams: figures are made inside ``with style():`` and returned
as ``matplotlib.figure.Figure``, ready for ``savefig``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY, FAINT = "#222222", "#767676", "#E4E4E4"

# Okabe & Ito's six readable colours and four darker ones: ten classes, ΔE > 18 apart also without red or green cones.
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#882255",
    "#332288",
    "#663300",
    "#222222",
)

RC: dict[str, object] = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.0,
    "axes.titlepad": 8.0,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
    "figure.dpi": 150.0,
    "figure.facecolor": "white",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "image.cmap": "gray_r",
    "image.interpolation": "nearest",
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "text.color": INK,
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8.0,
    "xtick.major.size": 3.0,
    "xtick.major.width": 0.7,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8.0,
    "ytick.major.size": 3.0,
    "ytick.major.width": 0.7,
}


@contextmanager
def style(**changes: object) -> Iterator[None]:
    """Apply the house style to figures made inside the block, and restore the caller's settings after it.

    Args:
        changes: Entries of rcParams to change, dots written as double underscores (``font__size=11``).

    Yields:
        Nothing.

    References:
        Okabe & Ito, Color universal design, 2008; Tol, Colour schemes, 2021.

    Example:
        >>> with style(font__size=11):
        ...     fig = figure(4, 3)
        >>> [float(v) for v in fig.get_size_inches()]
        [4.0, 3.0]
    """
    import matplotlib
    from matplotlib.rcsetup import cycler

    settings = RC | {"axes.prop_cycle": cycler(color=COLOURS)}
    settings |= {key.replace("__", "."): value for key, value in changes.items()}
    with matplotlib.rc_context(settings):  # pyright: ignore[reportArgumentType]  (keys are checked at run time)
        yield


def figure(width: float, height: float) -> Figure:
    """Make a figure that belongs to no window, laid out so that nothing overlaps.

    Args:
        width: In inches.
        height: In inches.

    Returns:
        An empty figure with an Agg canvas.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fig = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(fig)
    return fig


def bare(axes: Axes) -> Axes:
    """Take frame, ticks and grid off axes that show pictures.

    Args:
        axes: The axes.

    Returns:
        The same axes.
    """
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes
