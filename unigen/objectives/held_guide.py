"""The guide with its parameters held, for gradients through the draws alone: log q_φ̄(z_φ), φ̄ a constant copy of φ.

The score of a reparameterised guide, ∇_φ log q_φ(z) at fixed z, has mean zero and a variance that stays where q is the
posterior. Estimators that leave it out evaluate log q with φ held.
"""

from __future__ import annotations

import copy
import functools

import torch
from torch import Tensor
from torch.nn.utils.stateless import _reparametrize_module

from unigen.errors import ArgumentError, SiteError
from unigen.program import Program
from unigen.queries import placeholder
from unigen.traces import PyroFunction, base_of, draw, isolated, record, sample_nodes

Gradient = str | None


def held_guide(program: Program, x: Tensor, context: Tensor | None) -> PyroFunction:
    """Return the guide on a batch, run with parameters that carry no gradient."""

    def guide() -> None:
        fixed = {name: p.detach() for name, p in program.named_parameters()}
        with _reparametrize_module(program, fixed):
            program.guide(x, context, x.shape[0])

    return guide


def check_gradient(gradient: Gradient, known: tuple[str, ...]) -> None:
    """Refuse an unknown estimator.

    Raises:
        ArgumentError: It is none of those known.
    """
    if gradient is not None and gradient not in known:
        expected = "None (the whole gradient)" + "".join(f", '{name}'" for name in known)
        raise ArgumentError(site="gradient", got=repr(gradient), expected=expected)


def check_reparameterised(program: Program, gradient: Gradient) -> None:
    """Refuse a guide that an estimator through the draws does not hold for.

    Raises:
        SiteError: A draw carries no gradient, or log q differs between two runs on the same draws (dropout).
    """
    if gradient is None or not program.structure.latents:
        return
    x, context = placeholder(program, 2), program._dummy_context(2)
    guide = functools.partial(program.guide, x, context, 2)
    with isolated(), torch.random.fork_rng(devices=[]):
        nodes = {k: n for k, n in sample_nodes(record(guide)).items() if not n["is_observed"]}
    for name, node in nodes.items():
        if not node["fn"].has_rsample:
            raise SiteError(
                f"gradient='{gradient}' needs draws that carry a gradient",
                program=program.name,
                site=name,
                got=type(base_of(node["fn"])).__name__,
                expected="a reparameterised guide",
                hint="gradient=None with a baseline, or ELBO(enumerate=True)",
            )
    if len(nodes) > 1:
        _check_repeatable(program, {k: n["value"].detach() for k, n in nodes.items()}, gradient)


def _check_repeatable(program: Program, values: dict[str, Tensor], gradient: Gradient) -> None:
    """Refuse a guide of several sites whose densities are themselves random: it is run twice in a step."""
    twin = copy.deepcopy(program).train()  # batch normalisation of the original must not notice
    guide = functools.partial(twin.guide, placeholder(program, 2), program._dummy_context(2), 2)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        first, second = draw(guide, values), draw(guide, values)
    for name, value in values.items():
        a, b = (nodes[name]["fn"].log_prob(value) for nodes in (first, second))
        if not torch.equal(a, b):
            raise SiteError(
                f"gradient='{gradient}' runs a guide of several sites twice, and its density is random",
                program=program.name,
                site=name,
                expected="the same log q in both runs",
                hint="no dropout in the guide, or gradient=None",
            )
