"""The density of a diffusion or a continuous flow by the change of variables along its ODE.

log p(x) = log N(z_1; 0, I) + ∫ ∇·v(t, z_t) dt + D log alpha_start − Σ log scale,
dz/dt = v(t, z),     z_start = alpha_start (x − loc) / scale,     t from start to 1

For a diffusion v = f z − ½ g² score; for a CNF v is the network itself and alpha_start = 1.
"""

from __future__ import annotations

from typing import Any, final

from torch import Tensor

from unigen.densities.density import Density
from unigen.dynamics.change_of_variables import carry
from unigen.dynamics.divergence import Divergence, ExactDivergence
from unigen.dynamics.ode_solver import Adaptive
from unigen.dynamics.unit_flow import flow_of
from unigen.logprob import Kind, LogProb
from unigen.program import Program


@final
class ProbabilityFlow(Density):
    """log p(x) of the flow that carries N(0, I) to the data, exact up to the solver's tolerance.

    It is the density of the draws of the sampler `ProbabilityFlowODE`, and of those of a diffusion's reverse SDE to
    the extent that the network is the score of one distribution. The tolerances bound the error of a single step; that
    of log p(x) is of their order times the number of steps (measured: below 1e-4 bits a dimension at 1e-5), and falls
    with them down to the rounding of the dtype.

    Args:
        divergence: `ExactDivergence()`, or `Hutchinson(probes)`, which makes the value an estimate with an error.
        rtol: Relative error a step.
        atol: Absolute error a step.
        method: ``dopri5``, or a method of fixed step such as ``rk4``.
        options: Options of the method, e.g. ``{"step_size": 0.02}``.
        max_evaluations: Give up after so many evaluations of the velocity, or None.

    References:
        Song et al. 2021, Score-based generative modeling through SDEs; Chen et al. 2018, Neural ODEs.
    """

    def __init__(
        self,
        divergence: Divergence = ExactDivergence(),
        rtol: float = 1e-4,
        atol: float = 1e-4,
        method: str = "dopri5",
        options: dict[str, Any] | None = None,
        max_evaluations: int | None = None,
    ) -> None:
        self.divergence, self.rtol, self.atol = divergence, rtol, atol
        self.method, self.options, self.max_evaluations = method, options, max_evaluations

    @property
    def kind(self) -> Kind:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Exact, or an estimate where the divergence is one."""
        return Kind.EXACT if isinstance(self.divergence, ExactDivergence) else Kind.ESTIMATE

    def log_prob(self, program: Program, x: Tensor, context: Tensor | None = None) -> LogProb:
        """Return log p(x) in nats, shape (N,), with its standard error where the divergence is estimated."""
        flow = flow_of(program)
        solver = Adaptive(self.rtol, self.atol, self.method, False, self.max_evaluations, self.options)
        end = carry(flow, x, context, self.divergence, solver)
        return LogProb(end.log_prob, self.kind, end.stderr, x[:1].numel())
