"""Small programs that the core's tests share."""

from __future__ import annotations

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from unigen.inference.step import EagerStep
from unigen.inference.tracing import trace_step
from unigen.objectives.objective import Objective
from unigen.program import Program


def traces_with_symbolic_batch(program: Program, objective: Objective, x: Tensor) -> bool:
    """Whether a whole step of an objective is one graph that holds for every batch size."""
    player = objective.players(program)[0]
    step = EagerStep(player.loss, player.parameters, torch.optim.Adam(player.parameters.values()))
    return trace_step(step, [x, None], True)[0].symbolic([x])


class Toy(Program):
    """z ~ N(0, 1), x | z ~ N(z, 1); the guide is the prior, or the exact posterior N(x/2, 1/2)."""

    def __init__(self, exact: bool = False) -> None:
        super().__init__((1,))
        self.exact = exact
        self.register_buffer("zero", torch.zeros(1, dtype=torch.float64))

    def model(self, x=None, n=1):
        with self.plate(x, n):
            z = pyro.sample("z", dist.Normal(self.zero, 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with self.plate(x):
            loc, scale = (x / 2, 0.5**0.5) if self.exact else (self.zero.expand(x.shape), 1.0)
            return pyro.sample("z", dist.Normal(loc, scale).to_event(1))


class Outside(Toy):
    """The toy with a further observation outside the plate: one number y ~ N(0, 1) observed at 0.7."""

    def model(self, x=None, n=1):
        pyro.sample("y", dist.Normal(self.zero, 1.0).to_event(1), obs=self.zero + 0.7)
        with self.plate(x, n):
            z = pyro.sample("z", dist.Normal(self.zero, 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


class SharedMean(Program):
    """θ ~ N(0, 1) outside the plate, z_i ~ N(θ, 1), x_i | z_i ~ N(z_i, 1); an automatic guide."""

    def model(self, x=None, n=1):
        theta = pyro.sample("theta", dist.Normal(torch.zeros(1), 1.0).to_event(1))
        with self.plate(x, n):
            z = pyro.sample("z", dist.Normal(theta, 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


class Nested(Program):
    """Three conditionally independent measurements a row in an inner plate: x (N, 3) given z, w_ji in the plate."""

    def __init__(self) -> None:
        super().__init__((3,))
        self.scale = nn.Parameter(torch.ones(1))

    def model(self, x=None, n=1):
        with self.plate(x, n):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            with pyro.plate("parts", 2, dim=-2):
                w = pyro.sample("w", dist.Normal(z, self.scale[0]))
            parts = [
                z,
                w[..., :1, :],
                w[..., 1:, :],
            ]  # (…, 1, N) or (N,): the dimension of the inner plate stays
            loc = torch.stack([part.expand(*w.shape[:-2], 1, w.shape[-1]) for part in parts], -1)
            loc = loc if loc.dim() > 3 else loc[0]
            return pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with self.plate(x):
            pyro.sample("z", dist.Normal(x.mean(-1) / 2, 1.0))
            with pyro.plate("parts", 2, dim=-2):
                pyro.sample("w", dist.Normal(x[:, 1:].mT / 2, 0.8))


class Conditional(Program):
    """x | c ~ N(Ac + b, exp(s)²): no latent, an exact conditional density."""

    def __init__(self, features: int = 2, context: int = 3) -> None:
        super().__init__((features,), context=context)
        self.mean = nn.Linear(context, features)
        self.log_scale = nn.Parameter(torch.zeros(features))

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1):
        with self.plate(x, n):
            return pyro.sample("x", dist.Normal(self.mean(context), self.log_scale.exp()).to_event(1), obs=x)


class Switch(Program):
    """A discrete latent with a guide that shares no parameter with the model: two coins' states, learnable."""

    def __init__(self) -> None:
        super().__init__((1,))
        self.prior = nn.Parameter(torch.tensor([0.3, -0.2, 0.1]))
        self.means = nn.Parameter(torch.tensor([-1.0, 0.5, 2.0]))
        self.logits = nn.Parameter(torch.tensor([[0.4, 0.1, -0.6], [0.5, 0.3, 0.8]]))

    def model(self, x=None, n=1):
        with self.plate(x, n):
            z = pyro.sample("z", dist.Categorical(logits=self.prior))
            return pyro.sample("x", dist.Normal(self.means[z][..., None], 1.0).to_event(1), obs=x)

    def guide(self, x):
        with self.plate(x):
            return pyro.sample("z", dist.Categorical(logits=self.logits[0] + x * self.logits[1]))

    def exact_elbo(self, x: Tensor) -> Tensor:
        """The ELBO by enumeration of z, (N,), differentiable."""
        log_q = (self.logits[0] + x * self.logits[1]).log_softmax(-1)
        log_p = self.prior.log_softmax(-1) + dist.Normal(self.means, 1.0).log_prob(x)
        return (log_q.exp() * (log_p - log_q)).sum(-1)
