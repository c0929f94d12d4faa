"""One Adam step of every variant of a VAE, beside the same written by hand in eager PyTorch, and beside pythae.

    python -m benchmarks.vae_step --json

784-200-200-50 networks on binary images, batches of 100, one thread. Both sides run the same network objects: what is
written by hand is the loss, the way a person writes it for one model. pythae's column is the step of its own trainer:
its model's forward and backward pass, and Adam, on the same networks (``pip install --no-deps pythae``; left out if it
is not there). unigen's steps include what the others lack: the gradient norm, and a guard that leaves everything in
place when loss or gradient is not finite.
"""

from __future__ import annotations

import copy
import logging
import math
import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

import unigen as ug
from benchmarks.ratios import Ratio, Work, measure, options, report
from benchmarks.train_step import unigen
from unigen.models.vae import VAE
from unigen.nn.mlp import MLP

BATCH, FEATURES, LATENTS, HIDDEN = 100, 784, 50, (200, 200)
Loss = Callable[[VAE, Tensor], Tensor]
LOG_2PI = math.log(2 * math.pi)


def vae(latents: int = LATENTS, **parts: object) -> VAE:
    """Return the VAE of all cases with some parts changed."""
    given = {"hidden": HIDDEN, "likelihood": ug.Bernoulli()} | parts
    return VAE(FEATURES, latents, **given)  # type: ignore[arg-type]


def encode(net: VAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and scale of q(z | x)."""
    loc, raw = net.encoder(x).chunk(2, -1)
    return loc, softplus(raw) + 1e-4


def log_normal(z: Tensor, loc: Tensor | float, scale: Tensor) -> Tensor:
    """Return log N(z; loc, diag scale²), summed over the last dimension."""
    return (-0.5 * ((z - loc) / scale).square() - scale.log() - 0.5 * LOG_2PI).sum(-1)


def log_standard(z: Tensor) -> Tensor:
    """Return log N(z; 0, I)."""
    return -0.5 * (z.square() + LOG_2PI).sum(-1)


def miss(net: VAE, z: Tensor, x: Tensor) -> Tensor:
    """Return −log p(x | z), summed over pixels."""
    logits = net.decoder(z)
    return binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)


def kl(loc: Tensor, scale: Tensor) -> Tensor:
    """Return KL(q ‖ N(0, I)) entry by entry."""
    return 0.5 * (loc.square() + scale.square() - 1 - 2 * scale.log())


def elbo_by_hand(net: VAE, x: Tensor, beta: float = 1.0) -> Tensor:
    """β-VAE, KL in closed form."""
    loc, scale = encode(net, x)
    z = loc + scale * torch.randn_like(loc)
    return (miss(net, z, x) + beta * kl(loc, scale).sum(-1)).mean()


def free_bits_by_hand(net: VAE, x: Tensor, bits: float = 0.1) -> Tensor:
    """Free bits, averaged over the batch."""
    loc, scale = encode(net, x)
    z = loc + scale * torch.randn_like(loc)
    return miss(net, z, x).mean() + kl(loc, scale).mean(0).clamp_min(bits).sum()


def iwae_by_hand(net: VAE, x: Tensor, samples: int = 50) -> Tensor:
    """IWAE with all samples side by side."""
    loc, scale = encode(net, x)
    z = loc + scale * torch.randn(samples, *loc.shape)
    log_w = log_standard(z) - miss(net, z, x) - log_normal(z, loc, scale)
    return math.log(samples) - torch.logsumexp(log_w, 0).mean()


def dreg_by_hand(net: VAE, x: Tensor, samples: int = 5) -> Tensor:
    """IWAE whose guide gets the doubly reparameterised gradient."""
    loc, scale = encode(net, x)
    z = loc + scale * torch.randn(samples, *loc.shape)
    log_w = log_standard(z) - miss(net, z, x) - log_normal(z, loc.detach(), scale.detach())
    share = log_w.detach().softmax(0)
    if z.requires_grad:
        z.register_hook(lambda grad: share[..., None] * grad)
    return -(share * log_w).sum(0).mean()


def flow_prior_by_hand(net: VAE, x: Tensor) -> Tensor:
    """A flow as prior: its own density, called as such."""
    loc, scale = encode(net, x)
    z = loc + scale * torch.randn_like(loc)
    return (miss(net, z, x) + log_normal(z, loc, scale) - net.prior.marginal().log_prob(z)).mean()


def flow_posterior_by_hand(net: VAE, x: Tensor) -> Tensor:
    """An inverse autoregressive flow as posterior: draw and density from one pass, no inversion."""
    z, log_q = net.head.marginal(net.encoder(x)).rsample_and_log_prob()
    return (miss(net, z, x) + log_q - log_standard(z)).mean()


def vamp_by_hand(net: VAE, x: Tensor) -> Tensor:
    """VampPrior: the posterior at learned pseudo-inputs."""
    loc, scale = encode(net, x)
    z = loc + scale * torch.randn_like(loc)
    u_loc, u_scale = encode(net, net.prior.pseudo_inputs)
    mixture = torch.logsumexp(log_normal(z[:, None], u_loc, u_scale), 1) - math.log(u_loc.shape[0])
    return (miss(net, z, x) + log_normal(z, loc, scale) - mixture).mean()


def full_covariance_by_hand(net: VAE, x: Tensor) -> Tensor:
    """A Cholesky factor from the encoder."""
    d = net.latents
    raw = net.encoder(x)
    loc, diagonal = raw[:, :d], softplus(raw[:, d : 2 * d]) + 1e-4
    factor = torch.diag_embed(diagonal)
    rows, columns = torch.tril_indices(d, d, -1)
    factor[:, rows, columns] = raw[:, 2 * d :]
    z = loc + (factor @ torch.randn_like(loc)[..., None])[..., 0]
    divergence = 0.5 * (factor.square().sum((1, 2)) + loc.square().sum(1) - d - 2 * diagonal.log().sum(1))
    return (miss(net, z, x) + divergence).mean()


def hierarchy_by_hand(net: VAE, x: Tensor) -> Tensor:
    """Two stochastic layers: z_1 from x, z_2 from z_1."""
    loc, scale = encode(net, x)
    z = loc + scale * torch.randn_like(loc)
    top = net.prior
    loc2, scale2 = encode(top, z)
    z2 = loc2 + scale2 * torch.randn_like(loc2)
    sigma = 1e-3 + softplus(top.likelihood.raw_scale + 0.5408)
    prior = log_normal(z, top.decoder(z2), sigma.expand_as(z)) - kl(loc2, scale2).sum(-1)
    return (miss(net, z, x) + log_normal(z, loc, scale) - prior).mean()


CASES: dict[str, tuple[Callable[[], VAE], Loss, float]] = {
    "VAE": (vae, elbo_by_hand, 1.0),
    "β-VAE, β = 4": (lambda: vae(objective=ug.ELBO(beta=4.0)), partial(elbo_by_hand, beta=4.0), 1.0),
    "free bits": (lambda: vae(objective=ug.ELBO(free_bits=0.1)), free_bits_by_hand, 1.0),
    "IWAE, K = 5": (lambda: vae(objective=ug.IWAE(5)), partial(iwae_by_hand, samples=5), 1.0),
    "IWAE, K = 50": (lambda: vae(objective=ug.IWAE(50)), iwae_by_hand, 1.1),
    "DReG, K = 5": (lambda: vae(objective=ug.IWAE(5, gradient="dreg")), dreg_by_hand, 1.0),
    "flow prior": (
        lambda: vae(prior=ug.RealNVP(LATENTS, transforms=4, hidden=(64, 64))), flow_prior_by_hand, 1.0,
    ),
    "flow posterior": (
        lambda: vae(
            posterior=ug.IAF(LATENTS, transforms=2, hidden=(64, 64), context=32),
            encoder=MLP(FEATURES, 32, HIDDEN),
        ),
        flow_posterior_by_hand, 1.0,
    ),
    "VampPrior, 50": (lambda: vae(prior=ug.VampPrior(50)), vamp_by_hand, 1.0),
    "full covariance": (lambda: vae(10, posterior=ug.FullCovariance()), full_covariance_by_hand, 1.0),
    "two stochastic layers": (lambda: vae(prior=VAE(LATENTS, 20, hidden=HIDDEN)), hierarchy_by_hand, 1.0),
}  # fmt: skip


def by_hand(program: VAE, loss_of: Loss, x: Tensor) -> Work:
    """Return the loop by hand."""
    optimizer = torch.optim.Adam(program.parameters(), lr=1e-3)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(program, x)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


class _Encoder(nn.Module):
    """The encoder as pythae wants it: mean and log variance in a record."""

    def __init__(self, net: nn.Module, output: type) -> None:
        super().__init__()
        self.net, self.output = net, output

    def forward(self, x: Tensor) -> object:
        """Return the record."""
        loc, log_var = self.net(x.flatten(1)).chunk(2, -1)
        return self.output(embedding=loc, log_covariance=log_var)


class _Decoder(nn.Module):
    """The decoder as pythae wants it: probabilities in a record."""

    def __init__(self, net: nn.Module, output: type) -> None:
        super().__init__()
        self.net, self.output = net, output

    def forward(self, z: Tensor) -> object:
        """Return the record."""
        return self.output(reconstruction=self.net(z).sigmoid())


def pythae(case: str, program: VAE, x: Tensor) -> Work | None:
    """Return the step of pythae's trainer on the same networks, where it has the variant and is installed."""
    try:
        from pythae import models
        from pythae.models.base.base_utils import ModelOutput
    except ImportError:
        return None
    common = {"input_dim": (FEATURES,), "latent_dim": LATENTS, "reconstruction_loss": "bce"}
    made = {
        "VAE": lambda: (models.VAE, models.VAEConfig(**common)),
        "β-VAE, β = 4": lambda: (models.BetaVAE, models.BetaVAEConfig(beta=4.0, **common)),
        "IWAE, K = 5": lambda: (models.IWAE, models.IWAEConfig(number_samples=5, **common)),
        "IWAE, K = 50": lambda: (models.IWAE, models.IWAEConfig(number_samples=50, **common)),
    }
    if case not in made:
        return None
    from pythae.models.nn import BaseDecoder, BaseEncoder

    encoder = type("Encoder", (_Encoder, BaseEncoder), {})(program.encoder, ModelOutput)
    decoder = type("Decoder", (_Decoder, BaseDecoder), {})(program.decoder, ModelOutput)
    kind, config = made[case]()
    model = kind(config, encoder=encoder, decoder=decoder)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> Tensor:  # what pythae's BaseTrainer does with a batch
        output = model({"data": x}, epoch=1, dataset_size=x.shape[0])
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        return output.loss.detach()

    return step


def run(case: str, rounds: int) -> dict[str, Ratio]:
    """Measure one variant; the losses of both sides must agree first."""
    build, loss_of, bound = CASES[case]
    torch.manual_seed(0)
    x = torch.rand(BATCH, FEATURES).round()
    program = build()
    program.initialise(x)
    agree(case, program, loss_of, x)
    calls = 2 if "50" in case and "IWAE" in case else 20
    contenders = {
        "by hand, eager": by_hand(copy.deepcopy(program), loss_of, x),
        "unigen, compiled": unigen(copy.deepcopy(program), x, compiled=True),
    }
    peer = pythae(case, copy.deepcopy(program), x)
    if peer is not None:
        contenders["pythae"] = peer
    bounds = {"unigen, compiled": bound}
    return measure(contenders, baseline="by hand, eager", rounds=rounds, calls=calls, bounds=bounds)


def agree(case: str, program: VAE, loss_of: Loss, x: Tensor) -> None:
    """Refuse to time losses that differ: their means over draws must agree within five standard errors."""
    loss = program.objective.players(program)[0].loss
    with torch.no_grad():
        draws = torch.tensor([[float(loss(x)), float(loss_of(program, x))] for _ in range(40)])
    if "DReG" in case:  # by hand it is a surrogate with another value
        return
    gap, error = draws.mean(0).diff().abs(), (draws.var(0).sum() / 40).sqrt()
    if bool(gap > 5 * error + 1e-4 * draws.abs().mean()):
        raise RuntimeError(f"{case}: the loss by hand is another one: {draws.mean(0).tolist()}")


def main() -> int:
    """Measure all variants."""
    chosen = options(__doc__)
    torch.set_num_threads(1)
    logging.getLogger("torch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = {case: run(case, rounds=5 if chosen.quick else 21) for case in CASES}
    return report("vae_step", cases, chosen.json)


if __name__ == "__main__":
    raise SystemExit(main())
