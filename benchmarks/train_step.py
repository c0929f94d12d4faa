"""One Adam step of a VAE: unigen beside plain PyTorch, torch.compile and Pyro's SVI.

    python -m benchmarks.train_step --json

Two models, batches of 128, one thread, the same networks and the same bound for all (KL in closed form, but for
SVI's ``Trace_ELBO``, which samples it): a VAE of points in the plane, one hidden layer of 64 in encoder and decoder,
two latents, Gaussian likelihood with a learned scale; and a VAE of binary images, 784-400-20. "PyTorch" is the loop a
person would write by hand, "torch.compile" that loop with loss and optimiser compiled. unigen's steps include what
the others lack: the gradient norm, and a guard that leaves everything in place when loss or gradient is not finite.
"""

from __future__ import annotations

import copy
import logging
import math
import warnings
from collections.abc import Callable

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from benchmarks.ratios import Ratio, Work, measure, options, report
from unigen.distributions.likelihoods import Bernoulli, Gaussian
from unigen.inference.step import make_step
from unigen.models.vae import VAE
from unigen.objectives.elbo import ELBO

BATCH = 128
CASES = {  # features, latents, hidden, binary, wanted ratio, calls a round
    "2-D VAE, hidden 64": (2, 2, 64, False, 0.40, 100),
    "784-400-20 VAE": (784, 20, 400, True, 0.95, 10),
}


class ByHand(nn.Module):
    """The negative ELBO as one would write it for this one model."""

    def __init__(self, features: int, latents: int, hidden: int, binary: bool) -> None:
        super().__init__()
        self.latents, self.binary = latents, binary
        self.encoder = nn.Sequential(nn.Linear(features, hidden), nn.SiLU(), nn.Linear(hidden, 2 * latents))
        self.decoder = nn.Sequential(nn.Linear(latents, hidden), nn.SiLU(), nn.Linear(hidden, features))
        self.raw_scale = None if binary else nn.Parameter(torch.zeros(1))

    def sigma(self) -> Tensor:
        """Scale of the Gaussian likelihood, (1,)."""
        return 1e-3 + softplus(self.raw_scale + 0.54)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale of q(z | x), (N, L) each."""
        loc, raw = self.encoder(x).chunk(2, -1)
        return loc, softplus(raw) + 1e-4

    def forward(self, x: Tensor) -> Tensor:
        """Negative ELBO in nats an example."""
        loc, scale = self.posterior(x)
        z = loc + scale * torch.randn_like(loc)
        out = self.decoder(z)
        if self.binary:
            miss = binary_cross_entropy_with_logits(out, x, reduction="sum")
        else:
            sigma = self.sigma()
            miss = (0.5 * ((x - out) / sigma).square() + sigma.log() + 0.5 * math.log(2 * math.pi)).sum()
        kl = 0.5 * (loc.square() + scale.square() - 1 - 2 * scale.log()).sum()
        return (miss + kl) / x.shape[0]

    def model(self, x: Tensor) -> None:
        """The same in Pyro."""
        pyro.module("vae", self)
        with pyro.plate("data", x.shape[0]):
            z = pyro.sample("z", dist.Normal(x.new_zeros(x.shape[0], self.latents), 1.0).to_event(1))
            out = self.decoder(z)
            head = dist.Bernoulli(logits=out) if self.binary else dist.Normal(out, self.sigma())
            pyro.sample("x", head.to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        """Its guide."""
        with pyro.plate("data", x.shape[0]):
            pyro.sample("z", dist.Normal(*self.posterior(x)).to_event(1))


def pytorch(net: ByHand, x: Tensor, compiled: bool) -> Work:
    """The loop by hand."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    loss_of: Callable[[Tensor], Tensor] = torch.compile(net) if compiled else net
    update = torch.compile(optimizer.step) if compiled else optimizer.step

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(x)
        loss.backward()
        update()
        return loss.detach()

    return step


def svi(net: ByHand, x: Tensor) -> Work:
    """Pyro's stochastic variational inference."""
    pyro.clear_param_store()
    inference = pyro.infer.SVI(net.model, net.guide, pyro.optim.Adam({"lr": 1e-3}), pyro.infer.Trace_ELBO())
    return lambda: inference.step(x)


def unigen(program: VAE, x: Tensor, compiled: bool) -> Work:
    """unigen's step of the program's own objective."""
    player = (program.objective or ELBO()).players(program)[0]
    optimizer = torch.optim.Adam(player.parameters.values(), lr=1e-3)

    def refuse(message: str) -> None:
        raise RuntimeError(message)

    step = make_step(
        player.loss, player.parameters, optimizer, compile=compiled, example=(x, None), say=refuse
    )
    return lambda: step(x, None)


def run(
    features: int, latents: int, hidden: int, binary: bool, bound: float, calls: int, rounds: int
) -> dict[str, Ratio]:
    """Measure one model."""
    torch.manual_seed(0)
    x = torch.rand(BATCH, features).round() if binary else torch.randn(BATCH, features)
    net = ByHand(features, latents, hidden, binary)
    program = VAE(features, latents, hidden=(hidden,), likelihood=Bernoulli() if binary else Gaussian())
    contenders = {
        "PyTorch": pytorch(copy.deepcopy(net), x, compiled=False),
        "torch.compile": pytorch(copy.deepcopy(net), x, compiled=True),
        "Pyro SVI": svi(copy.deepcopy(net), x),
        "unigen, eager": unigen(copy.deepcopy(program), x, compiled=False),
        "unigen, compiled": unigen(copy.deepcopy(program), x, compiled=True),
    }
    return measure(
        contenders, baseline="PyTorch", rounds=rounds, calls=calls, bounds={"unigen, compiled": bound}
    )


def main() -> int:
    """Measure all models."""
    chosen = options(__doc__)
    torch.set_num_threads(1)
    logging.getLogger("torch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = {name: run(*case, rounds=7 if chosen.quick else 31) for name, case in CASES.items()}
    return report("train_step", cases, chosen.json)


if __name__ == "__main__":
    raise SystemExit(main())
