r"""The restricted Boltzmann machine and maximum likelihood: CD-k is biased, PCD is not, and enumeration tells.

Notation: p_0 the data's distribution, p the machine, T(x → x') = Σ_h p(h | x) p(x' | h) its sweep. The gradients are

    maximum likelihood: E_{p_0} ∇E − E_p ∇E,    CD-k: E_{p_0} ∇E − E_{p_0 T^k} ∇E,

and p_0 T^k → p: their difference falls like |λ_2|^k, λ_2 the second eigenvalue of T. PCD's chains follow p, so that its
gradient is the first up to noise. No parameters have E_{p_0} log p above minus the entropy of p_0.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.densities.normaliser import Normalised
from unigen.distributions.finite_states import LARGEST, FiniteStates
from unigen.inference.fit import fit
from unigen.models.rbm import RBM
from unigen.objectives.likelihood import MaximumLikelihood
from unigen.plots.style import COLOURS, GREY, figure, style
from unigen.program import Program
from unigen.queries import seeded
from unigen.relations.evidence import Claim, Evidence, statistical
from unigen.relations.relation import Relation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROUNDING = 1e-9  # of float64 sums over some thousand states
SWEEPS = (1, 2, 4, 8, 16)
CHAINS = 20_000  # of PCD
SIDE = 4  # of the bars and stripes


def bars_and_stripes(side: int = SIDE) -> Tensor:
    """Return all images of full rows or of full columns, each once, shape (2^(side+1) − 2, side²), zeros and ones.

    Example:
        >>> bars_and_stripes(4).shape
        torch.Size([30, 16])
    """
    lines = torch.tensor(list(itertools.product((0.0, 1.0), repeat=side)))
    bars = lines[:, None, :].expand(-1, side, -1).flatten(1)
    stripes = lines[:, :, None].expand(-1, -1, side).flatten(1)
    return torch.cat([bars, stripes]).unique(dim=0)


class RBMtoMaximumLikelihood(Relation):
    """Contrastive divergence is biased, persistent chains are not, and the entropy of the data bounds both."""

    id = 24
    name = "RBM – maximum likelihood"
    families = ("RBM",)
    statement = (
        "CD-k's gradient differs from that of the likelihood by what k sweeps leave of the data, PCD's by noise alone; "
        "the mean log-likelihood is −entropy − KL"
    )
    latex = r"\nabla_{\mathrm{CD}k} - \nabla_{\mathrm{ML}} = (p - p_0 T^k)^\top \nabla E \to 0, \quad "
    latex += r"\mathbb{E}_{p_0} \log p = -H(p_0) - \mathrm{KL}(p_0 \,\|\, p)"
    source = "Hinton 2002; Tieleman 2008"
    assumptions = ("Bernoulli units, few enough in one layer to visit all its states",)

    def check(self, *, features: int = 5, hidden: int = 4, steps: int = 300, seed: int = 0) -> Evidence:
        """Compare gradients on a random machine by its transition matrix, and train one on bars and stripes exactly.

        Args:
            features: D of the random machine.
            hidden: H of it.
            steps: Of the exact training.
            seed: Of machine, chains and training.
        """
        with seeded(seed, torch.device("cpu")):
            rbm = RBM(features, hidden, density=Normalised()).double()
            with torch.no_grad():
                rbm.joint.weight.normal_()
                rbm.joint.bias.normal_()
            claims = [*self._layers(rbm), *self._gradients(rbm)]
            exact, found = self._exact(steps)
        return self.evidence(*claims, *exact, log_likelihood=round(found, 4), entropy=round(math.log(30), 4))

    def sweep(self, rbm: RBM) -> Tensor:
        """Return T, shape (2^D, 2^D), from the conditionals alone."""
        x, h = _states(rbm.event_shape.numel(), rbm), _states(rbm.hidden, rbm)
        up = _table(rbm.joint.logits(x), h)
        down = rbm.joint.visible.conditional(rbm.joint.sent(h)).log_prob(x[:, None]).sum(-1)
        return (up[:, :, None] + down.mT[None]).logsumexp(1).exp().detach()

    def _layers(self, rbm: RBM) -> list[Claim]:
        joint, like = rbm.joint, rbm.joint.weight
        one = FiniteStates(like.shape[0], joint.log_mass, lambda x: x, like).log_z().item()
        two = FiniteStates(like.shape[1], joint.log_mass_of_hidden, lambda x: x, like).log_z().item()
        return [Claim("log Z over x = log Z over h", one, two, ROUNDING)]

    def _gradients(self, rbm: RBM) -> list[Claim]:
        x = _states(rbm.event_shape.numel(), rbm)
        data = torch.zeros(x.shape[0], dtype=x.dtype)
        data[torch.randperm(x.shape[0])[: x.shape[0] // 4]] = 4.0 / x.shape[0]
        slopes = torch.stack([_slope(rbm, row) for row in x])  # ∇E of each state
        p = rbm.log_prob(x).value.exp().detach()
        likelihood, sweep, gaps = (data - p) @ slopes, self.sweep(rbm), []
        for k in SWEEPS:
            after = data @ torch.linalg.matrix_power(sweep, k)
            gaps.append(float(((data - after) @ slopes - likelihood).norm()))
        claims = [Claim("p T = p, largest difference", float((p @ sweep - p).abs().max()), 0.0, ROUNDING)]
        claims += [
            Claim("CD-1 is biased: distance to the gradient of the likelihood", gaps[0], 1e-2, 0.0, sense="≥")
        ]
        claims += [
            Claim(f"distance of CD-{l} ≤ that of CD-{k}", b, a, ROUNDING, sense="≤")
            for k, l, a, b in zip(SWEEPS, SWEEPS[1:], gaps, gaps[1:], strict=False)
        ]
        many = data @ torch.linalg.matrix_power(sweep, 2**16)
        claims.append(Claim("CD-∞", float(((data - many) @ slopes - likelihood).norm()), 0.0, 1e-6))
        chains = rbm.states().sample(CHAINS)
        ends = slopes[_index(rbm.sweep(chains))]
        along = torch.randn(slopes.shape[1], dtype=x.dtype)
        found, truth = ends @ along, float(p @ slopes @ along)
        stderr = float(found.std()) / CHAINS**0.5
        claims.append(
            statistical("PCD at stationarity, along a direction", float(found.mean()), truth, stderr)
        )
        return claims

    def _exact(self, steps: int) -> tuple[list[Claim], float]:
        x = bars_and_stripes().double()
        rbm = RBM(SIDE**2, 10, density=Normalised(), objective=MaximumLikelihood()).double()
        fit(rbm, x, steps=steps, lr=0.05, batch_size=x.shape[0], progress=False, compile=False)
        return self.bound(rbm, x), rbm.log_prob(x).mean().value

    def bound(self, rbm: Program, x: Tensor) -> list[Claim]:
        """Return the claims about the mean log-likelihood of rows x and the entropy of their frequencies."""
        log_p = rbm.log_prob(x, density=Normalised()).value.double()
        _, which, counts = x.unique(dim=0, return_inverse=True, return_counts=True)
        log_q = (counts.double() / x.shape[0]).log()[which]
        entropy, divergence = -float(log_q.mean()), float((log_q - log_p).mean())
        mean, slack = float(log_p.mean()), 1e-5 * (1 + abs(float(log_p.mean())))
        return [
            Claim("mean log p ≤ −entropy of the data", mean, -entropy, slack, sense="≤"),
            Claim("mean log p = −entropy − KL", mean, -entropy - divergence, slack),
            Claim("KL(data ‖ model) ≥ 0", divergence, 0.0, slack, sense="≥"),
        ]

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Compare the exact log-likelihood of rows with the entropy of their frequencies.

        Raises:
            UnsupportedQueryError: Gaussian units, or more than 2²⁰ states in either layer.
        """
        if not isinstance(a, RBM) or not a.joint.visible.finite or min(a.joint.weight.shape) > LARGEST:
            raise self.refuse(self.assumptions[0], a)
        x, _ = a.check_batch(data)
        with torch.no_grad():
            return self.evidence(*self.bound(a, x), rows=x.shape[0])

    def figure(self, *, seed: int = 0) -> Figure:
        """Draw the distance of CD-k's gradient from that of the likelihood against k."""
        claims = [
            claim
            for claim in self.check(steps=1, seed=seed).claims
            if claim.name.startswith("distance of CD")
        ]
        gaps = [claims[0].right, *(claim.left for claim in claims)]
        with style():
            fig = figure(4.2, 3.0)
            axes = fig.subplots()
            axes.loglog(SWEEPS, gaps, marker="o", color=COLOURS[0])
            axes.axhline(ROUNDING, color=GREY, linestyle=":", linewidth=0.9)
            axes.set(xlabel="k, sweeps from the data", ylabel="distance of the gradients", title="CD-k")
        return fig


def _states(units: int, rbm: RBM) -> Tensor:
    return torch.cat(list(FiniteStates(units, lambda s: s, lambda s: s, rbm.joint.weight.detach()).chunks()))


def _index(x: Tensor) -> Tensor:
    return (x.long() << torch.arange(x.shape[1])).sum(1)


def _table(logits: Tensor, h: Tensor) -> Tensor:
    """Return log p(h | x) of every pair, from the log odds (X, H) and the states (S, H), shape (X, S)."""
    return logits @ h.mT - torch.nn.functional.softplus(logits).sum(-1, keepdim=True)


def _slope(rbm: RBM, x: Tensor) -> Tensor:
    """Return ∇E(x) in all parameters, flattened."""
    found = torch.autograd.grad(rbm.potential(x[None]).sum(), list(rbm.parameters()))
    return torch.cat([each.flatten() for each in found])
