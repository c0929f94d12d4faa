"""What the score-matching objectives share: the model's score, differentiable once more, and which programs have one.

s(x) = ∇_x log p(x) = −∇_x E(x)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import constraints

from unigen.errors import NoDensityError, UnsupportedQueryError
from unigen.logprob import Kind
from unigen.objectives.contrastive import HasChains
from unigen.program import Program


def check_score(program: Program, objective: str) -> None:
    """Refuse a program without a score of its own on all of Euclidean space, where integration by parts holds.

    Raises:
        NoDensityError: x is discrete or bounded, or the program has only a bound or an estimate of its density.
    """
    support = program.support
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    if support is not constraints.real or program.kind not in (Kind.EXACT, Kind.UNNORMALISED):
        raise NoDensityError(
            f"{objective} needs a density or an energy on the reals", program=program.name,
            got=f"kind {program.kind}, support {support}", hint="objective=ELBO(); or map x to the reals first",
        )  # fmt: skip


def score_of(program: Program, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return x as a leaf of the graph, and s(x) on that graph, both (N, *event)."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        value = program.density_of(x, context).value
        return x, torch.autograd.grad(value.sum(), x, create_graph=True)[0]


def slope_of(along: Tensor, x: Tensor) -> Tensor:
    """Return ∇_x Σ_i along_i, differentiably, shape of x.

    Raises:
        UnsupportedQueryError: ``along`` does not depend on x.
    """
    found = None
    if along.requires_grad:
        with torch.enable_grad():
            found = torch.autograd.grad(along.sum(), x, create_graph=True, allow_unused=True)[0]
    if found is None:
        raise UnsupportedQueryError(
            "the score does not depend on x: the energy has no second derivative", site="energy",
            got="a linear or piecewise linear energy", hint="smooth activations, e.g. torch.nn.SiLU",
        )  # fmt: skip
    return found


def note_noise(program: Program, noise: float) -> None:
    """Tell a program under how much noise it is trained, so that draws can be freed of it."""
    if isinstance(program, HasChains):
        with torch.no_grad():
            program.noise.fill_(noise)
