from __future__ import annotations

import subprocess
import sys

import matplotlib
import numpy as np
import pytest

from unigen.plots.style import COLOURS, bare, figure, style

TO_LMS = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
EYES = {
    "all cones": np.eye(3),
    "no green cones": np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]]),
    "no red cones": np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]]),
}


def lab(colour: str, eye: str) -> np.ndarray:
    """CIE L*a*b* of a colour as an eye sees it (Viénot, Brettel & Mollon, 1999)."""
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.linalg.inv(TO_LMS) @ EYES[eye] @ TO_LMS @ linear, 0, 1)
    f = TO_XYZ @ seen / np.array([0.9505, 1.0, 1.089])
    f = np.where(f > 0.008856, np.cbrt(f), 7.787 * f + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_caller_settings_are_restored_even_after_an_error() -> None:
    before = dict(matplotlib.rcParams)
    try:
        with style(font__size=11):
            assert matplotlib.rcParams["font.size"] == 11
            assert matplotlib.rcParams["axes.spines.top"] is False
            raise KeyError("x")
    except KeyError:
        pass
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("eye", EYES)
def test_ten_colours_stay_apart_from_one_another_and_from_paper(eye) -> None:
    seen = [lab(colour, eye) for colour in (*COLOURS, "#FFFFFF")]
    assert len(seen) == 11
    assert min(np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]) > 18


def test_bare_axes_show_pictures_only() -> None:
    with style():
        axes = bare(figure(2, 2).add_subplot())
    assert len(axes.get_xticks()) == 0
    assert not any(spine.get_visible() for spine in axes.spines.values())


def test_neither_importing_nor_drawing_touches_pyplot_or_a_display() -> None:
    program = """
import sys
import unigen.plots.atlas, unigen.plots.curves, unigen.plots.images, unigen.plots.latent
assert not {"matplotlib", "networkx", "sklearn"} & set(sys.modules)
unigen.plots.curves.training_curves({"loss": [2.0, 1.0]}).canvas.draw()
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
