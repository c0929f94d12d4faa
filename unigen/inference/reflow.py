"""Rectified flow: a flow trained on the pairs of noise and draw that another flow makes.

    eps ~ base,  u = the flow's draw from eps;      minimise E ‖v(t, (1 − t) u + t eps) − (eps − u)‖²

The new flow has the same marginals at both ends, transports at no greater cost and, repeated, along straight lines.
"""

from __future__ import annotations

import copy
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from unigen.checks import check_context
from unigen.dynamics.coupling import Rectified
from unigen.dynamics.interpolant import Linear
from unigen.dynamics.prediction import Velocity
from unigen.dynamics.times import LowDiscrepancyTimes
from unigen.errors import ArgumentError
from unigen.inference.fit import fit
from unigen.models.flow_matching import FlowMatching
from unigen.objectives.objective import Objective, Player, ProgramLoss, trainable
from unigen.program import Program
from unigen.queries import evaluating, seeded

ROWS = 4096  # pairs made at a time


class PairsLoss(ProgramLoss):
    """The squared error of the velocity on given pairs (u, eps), rows (N, 2, *event)."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the mean over the batch, at one time a pair."""
        flow = self.program.target.flow
        t = flow.at(LowDiscrepancyTimes().draw(x))
        return flow.velocity_error(x[:, 0], t, x[:, 1], context).mean()


class PairsRegression(Objective):
    """Train the velocity of the target on given pairs."""

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains the target's network."""
        loss = PairsLoss(program)
        return [Player("reflow", loss, trainable(loss, "program.target.flow.network"))]


class Pairs(Program):
    """Pairs of draw and noise as data of a program, so that ``fit`` trains the target on them.

    Args:
        target: What is trained.
    """

    recipe = FlowMatching.recipe
    target: FlowMatching

    def __init__(self, target: FlowMatching) -> None:
        shape = (2, *target.event_shape)
        super().__init__(shape, context=target.context_features, objective=PairsRegression())
        self.target = target

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare a support for pairs: the reals."""
        zero = torch.zeros(self.event_shape, dtype=self.dtype, device=self.device)
        with self.plate(x, n):
            return pyro.sample("x", dist.Normal(zero, 1.0).to_event(zero.dim()), obs=x)


def reflow(
    program: FlowMatching,
    n: int = 10_000,
    *,
    context: object = None,
    network: nn.Module | None = None,
    seed: int | None = None,
    **options: Any,
) -> FlowMatching:
    """Return a straighter flow of the same distribution, trained on pairs made by this one.

        z_t = (1 − t) u + t eps,      (u, eps) a draw of ``program`` and its noise

    Args:
        program: The flow to straighten; it stays as it is.
        n: Pairs, made by its ODE before training.
        context: Contexts of the pairs, (n, C), for a conditional program.
        network: Network of the new program; a copy of the old one's, weights included, if None.
        seed: Makes pairs and training reproducible.
        **options: Of ``fit``.

    Returns:
        The new program, along straight paths; its velocity gives no score.

    Raises:
        ArgumentError: The program is no flow matching program, or n < 2.
        ContextError: The contexts do not fit.

    References:
        Liu, Gong & Liu, Flow straight and fast: learning to generate and transfer data with rectified flow, 2023.

    Example:
        >>> import unigen as ug
        >>> flow = ug.FlowMatching(2, hidden=8, blocks=1)
        >>> reflow(flow, 64, steps=2, progress=False).flow.coupling
        Rectified()
    """
    if not isinstance(program, FlowMatching) or n < 2:
        raise ArgumentError(
            program="reflow", site="n", got=f"{n} pairs of a {type(program).__name__}",
            expected="at least 2, of a FlowMatching", hint="ug.to_flow_matching(diffusion)",
        )  # fmt: skip
    c = check_context(context, program.context_features, n, program.dtype, program.name)
    new = _successor(program, network)
    with seeded(seed, program.device):
        pairs = _pairs(program, n, c)
    data = pairs if c is None else (pairs, c)
    fit(Pairs(new), data, seed=seed, **options)
    new.fitted, new.data_size = True, n
    return new


def _successor(program: FlowMatching, network: nn.Module | None) -> FlowMatching:
    """The program to train: constructed alike, with straight paths and the same coordinates."""
    arguments = dict(program.__dict__["_arguments"])
    if network is not None or arguments.get("network") is not None:
        arguments["network"] = copy.deepcopy(program.flow.network) if network is None else network
    straight = {"interpolant": Linear(), "coupling": Rectified(), "prediction": Velocity(), "start": None}
    new = FlowMatching(**arguments | straight | {"sampler": program.ode})
    new.to(device=program.device, dtype=program.dtype)
    if network is None:
        new.flow.network.load_state_dict(program.flow.network.state_dict())
    new.flow.loc.copy_(program.flow.loc)
    new.flow.scale.copy_(program.flow.scale)
    return new


def _pairs(program: FlowMatching, n: int, context: Tensor | None) -> Tensor:
    """Draws in unit coordinates beside their noise, (n, 2, *event)."""
    flow, parts = program.flow, []
    with evaluating(program), torch.no_grad():
        eps = flow.draw_base(n)
        for i in range(0, n, ROWS):
            c = None if context is None else context[i : i + ROWS].to(program.device)
            parts.append(flow.to_unit(program.ode.push(program, eps[i : i + ROWS], c)))
    return torch.stack([torch.cat(parts), eps], 1)
