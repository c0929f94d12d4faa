"""One Adam step of a continuous flow: unigen beside zuko's CNF, the same network and the same data.

    python -m benchmarks.cnf --json

Batches of 256 in 2, 16 and 64 dimensions, three hidden layers of 64, one thread. zuko integrates by Dormand–Prince
with an adjoint of its own; "adaptive" has its tolerances (1e-6 absolute, 1e-5 relative) and gradients through the
steps or by torchdiffeq's adjoint, "8 steps" is the default of training: fixed steps of order four. The divergence is
exact in 2 and 16 dimensions and has one random probe in 64, for all alike.
"""

from __future__ import annotations

import copy
import warnings

import torch
import zuko
from torch import Tensor, nn

import unigen.distributions.zuko_adapter  # noqa: F401  (puts back the validation that zuko switches off)
from benchmarks.ratios import Ratio, Work, measure, options, report
from unigen.dynamics.divergence import Divergence, ExactDivergence, Hutchinson
from unigen.dynamics.fixed_steps import FixedSteps
from unigen.dynamics.ode_solver import Adaptive, ODESolver
from unigen.inference.step import make_step
from unigen.models.cnf import CNF

BATCH = 256
GAIN = 1.5  # factor on the initial weights, so that there is something to integrate
CASES = {"2 dimensions": 2, "16 dimensions": 16, "64 dimensions": 64}
SOLVERS = {
    "unigen, adaptive": Adaptive(rtol=1e-5, atol=1e-6),
    "unigen, adaptive, adjoint": Adaptive(rtol=1e-5, atol=1e-6, adjoint=True),
    "unigen, 8 steps": FixedSteps(8),
}


class Drift(nn.Module):
    """zuko's network, called as unigen calls one."""

    def __init__(self, transform: nn.Module) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Drift, (N, D)."""
        return self.transform.f(t, x)  # pyright: ignore[reportCallIssue]


def theirs(flow: nn.Module, x: Tensor) -> Work:
    """zuko's step."""
    optimizer = torch.optim.Adam(flow.parameters(), 1e-5)

    def step() -> None:
        optimizer.zero_grad()
        (-flow().log_prob(x).mean()).backward()
        optimizer.step()

    return step


def ours(flow: nn.Module, x: Tensor, solver: ODESolver, divergence: Divergence) -> Work:
    """unigen's step."""
    drift = Drift(flow.transform)  # pyright: ignore[reportArgumentType]
    program = CNF(x.shape[1], network=drift, solver=solver, divergence=divergence)
    (player,) = program.objective.players(program)  # pyright: ignore[reportOptionalMemberAccess]
    optimizer = torch.optim.Adam(player.parameters.values(), 1e-5)
    step = make_step(player.loss, player.parameters, optimizer)
    return lambda: step(x, None)


def run(dims: int, rounds: int) -> dict[str, Ratio]:
    """Measure one dimension."""
    torch.manual_seed(0)
    x, exact = torch.randn(BATCH, dims), dims <= 16
    flow = zuko.flows.CNF(dims, hidden_features=(64, 64, 64), exact=exact)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.mul_(GAIN)
    divergence = ExactDivergence(chunk=None) if exact else Hutchinson(probes=1)
    contenders = {"zuko": theirs(copy.deepcopy(flow), x)}
    for name, solver in SOLVERS.items():
        contenders[name] = ours(copy.deepcopy(flow), x, solver, divergence)
    return measure(contenders, baseline="zuko", rounds=rounds, calls=1, warm_up=1)


def main() -> int:
    """Measure all dimensions."""
    chosen = options(__doc__)
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = {name: run(dims, rounds=3 if chosen.quick else 11) for name, dims in CASES.items()}
    return report("cnf", cases, chosen.json)


if __name__ == "__main__":
    raise SystemExit(main())
