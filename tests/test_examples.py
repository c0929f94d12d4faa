"""Every script in examples/ runs, small, as a user would run it; a script that is not listed here fails."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples"

# One line a script: the arguments that make it small. Add yours when you add a script.
EXAMPLES: dict[str, list[str]] = {
    "composition.py": ["--steps", "2"],
    "first_model.py": ["--steps", "2"],
    "flow_matching.py": ["--steps", "2"],
    "latent_sde.py": ["--steps", "2"],
    "guided_digits.py": ["--steps", "2"],
    "new_family.py": ["--steps", "2"],
    "vae_variants.py": ["--steps", "2"],
    "svd_digits.py": ["--steps", "2"],
    "whitening.py": ["--steps", "2"],
    "attention.py": ["--steps", "2"],
    "flow_1d.py": ["--steps", "2"],
    "brownian_motion.py": ["--steps", "2"],
    "importance_sampling.py": ["--steps", "2"],
    "neural_ode_spiral.py": ["--steps", "2"],
    "optimisers.py": ["--steps", "2"],
    "wasserstein_1d.py": ["--steps", "4"],
    "resnet_spiral.py": ["--steps", "2"],
    "rate_distortion.py": ["--steps", "2"],
    "double_well.py": ["--steps", "10"],
    "ising_rbm.py": ["--steps", "2"],
    "variational_toy.py": ["--steps", "2"],
    "score_matching.py": ["--steps", "2"],
    "score_sde_grid.py": ["--steps", "4"],
    "ring.py": ["--steps", "2"],
    "schrodinger_bridge.py": ["--steps", "4"],
    "gan_transport.py": ["--steps", "2"],
    "unified_view.py": ["--steps", "2"],
    "conditional_generation.py": ["--steps", "2"],
    "text.py": ["--steps", "2"],
}
NO_FIGURE = {"composition.py", "first_model.py", "flow_matching.py", "new_family.py"}
LONGEST = 60  # lines of code of a script


def test_every_example_is_listed():
    present = {path.name for path in FOLDER.glob("*.py")}
    assert present == set(EXAMPLES), (
        "list each script of examples/ in EXAMPLES, with arguments that make it small"
    )


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_example_runs(name: str, tmp_path: Path):
    environment = os.environ | {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    command = [sys.executable, str(FOLDER / name), *EXAMPLES[name]]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, f"{name} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    assert done.stdout.strip(), f"{name} printed nothing: an example shows its numbers"
    drawn = (tmp_path / name).with_suffix(".png").exists()
    assert drawn == (name not in NO_FIGURE), f"a lab writes its figure, {name.removesuffix('.py')}.png"


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_example_is_short(name: str):
    """Lines of code: neither blank, nor comments, nor of the module's docstring."""
    source = (FOLDER / name).read_text(encoding="utf-8")
    docstring = ast.parse(source).body[0]
    assert isinstance(docstring, ast.Expr), f"{name} says what it shows in its docstring"
    lines = [line.strip() for line in source.splitlines()[docstring.end_lineno :]]
    assert sum(bool(line) and not line.startswith("#") for line in lines) <= LONGEST, f"{name} is too long"
