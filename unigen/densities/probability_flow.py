"""The density of a diffusion by the change of variables along its probability flow.

log p(x) = log N(z_1; 0, I) + ∫ ∇·v(t, z_t) dt + D log alpha_start − Σ log scale,
dz/dt = v(t, z) = f z − ½ g² score,     z_start = alpha_start (x − loc) / scale,     t from start to 1
"""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import Tensor

from unigen.densities.density import Density
from unigen.dynamics.denoiser import denoiser_of, sum_events
from unigen.dynamics.divergence import Divergence, ExactDivergence
from unigen.dynamics.sde import ForwardSDE
from unigen.dynamics.sde import ProbabilityFlow as FlowDynamics
from unigen.dynamics.solvers import integrate_ode
from unigen.logprob import Kind, LogProb
from unigen.program import Program


@final
class ProbabilityFlow(Density):
    """log p(x) of the flow that carries N(0, I) to the data, exact up to the solver's tolerance.

    It is the density of the draws of the sampler `ProbabilityFlowODE`, and of those of the reverse SDE to the extent
    that the network is the score of one distribution.

    Args:
        divergence: `ExactDivergence()`, or `Hutchinson(probes)`, which makes the value an estimate with an error.
        rtol: Relative error a step.
        atol: Absolute error a step.
        method: ``dopri5``, or a method of fixed step such as ``rk4``.
        options: Options of the method, e.g. ``{"step_size": 0.02}``.

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
    ) -> None:
        self.divergence, self.rtol, self.atol = divergence, rtol, atol
        self.method, self.options = method, options

    @property
    def kind(self) -> Kind:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Exact, or an estimate where the divergence is one."""
        return Kind.EXACT if isinstance(self.divergence, ExactDivergence) else Kind.ESTIMATE

    def log_prob(self, program: Program, x: Tensor, context: Tensor | None = None) -> LogProb:
        """Return log p(x) in nats, shape (N,), with its standard error where the divergence is estimated."""
        denoiser = denoiser_of(program)
        c = None if context is None else context.expand(x.shape[0], context.shape[-1])
        flow = FlowDynamics(ForwardSDE(denoiser.schedule), lambda t, y: denoiser.score(t, y, c))
        u = denoiser.to_unit(x)
        vectors = self.divergence.vectors(u)
        dims = u[:1].numel()

        def rates(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            velocity, terms = self.divergence.terms(lambda y: flow.drift(t, y), state[0], vectors)
            return velocity, terms

        start = torch.full((), denoiser.start, dtype=u.dtype, device=u.device)
        log_alpha = denoiser.schedule.log_alpha(start)
        columns = 1 if isinstance(self.divergence, ExactDivergence) else vectors.shape[0]
        state = torch.exp(log_alpha) * u, u.new_zeros(u.shape[0], columns)
        end, terms = integrate_ode(
            rates, state, denoiser.start, 1.0, self.rtol, self.atol, self.method, self.options
        ).value
        volume, stderr = self.divergence.estimate(terms)
        prior = -0.5 * sum_events(end.square()) - 0.5 * dims * math.log(2.0 * math.pi)
        value = prior + volume + dims * log_alpha - denoiser.log_volume()
        return LogProb(value, self.kind, stderr, dims)
