"""Variational inference on toys: the bound plus the divergence is log Z, and which divergence decides what q misses.

Left: two states ±1.5; whatever q is, ELBO and KL(q ‖ p) add up to log Z. Middle: z is normal and x = z² + noise was
seen, so that the posterior has two modes. The normal q that the
ELBO finds seeks one of them, since KL(q ‖ p) forbids
q where p is not; the normal q of least KL(p ‖ q) covers both and what lies between. A mixture has room for both.
Right: more samples close the gap of a q that reaches everywhere. One that sees a single mode stays log 2 below: its
estimates agree with one another, and are wrong.
"""

from __future__ import annotations

import argparse
import math

import torch
from pyro.distributions import Normal

import unigen as ug
from unigen.plots.style import COLOURS, GREY, figure, style


class Square(torch.nn.Module):  # noqa: D101
    def forward(self, z: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return z.square()


def main() -> None:
    """Add bound and divergence up, by enumeration and by quadrature."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    steps, vi, noise = parser.parse_args().steps, ug.relation(4), 1.2
    weights, sweep = torch.tensor([1.5, -1.5]).double(), torch.linspace(0.001, 0.999, 99).double()
    terms = [(vi.bound(q, weights), vi.divergence(q, weights)) for q in torch.stack([sweep, 1 - sweep], 1)]
    print("two states, ELBO + KL:", *(f"{sum(terms[i]):.6f}" for i in (10, 49, 94)), "  expected 1.548587")

    torch.manual_seed(0)
    prior, x = Normal(torch.zeros(1).double(), 2.0).to_event(1), torch.full((4096, 1), 4.0).double()
    z = torch.linspace(-4.5, 4.5, 4001).double()
    joint = prior.log_prob(z[:, None]) + Normal(z.square(), noise).log_prob(x[0])
    log_z = torch.trapezoid(joint.exp(), z).log()
    p, qs, curves, samples = (joint - log_z).exp(), {}, {}, (1, 2, 4, 8, 16, 32, 64, 128)
    for name, head in {"normal: seeks": ug.MeanField(), "mixture of 8": ug.MixturePosterior(8)}.items():
        parts = {"likelihood": ug.Gaussian(noise), "decoder": Square(), "hidden": (8,), "posterior": head}
        vae = ug.VAE(1, 1, prior=prior, **parts).double()
        ug.fit(vae, x, steps=steps, lr=0.01, batch_size=128, seed=0)
        qs[name] = vae.posterior(x[:1]).log_prob(z[:, None]).exp().detach()
        bounds = [vae.log_prob(x, density=ug.Importance(k)).mean() for k in samples]
        curves[name] = [float(each.value) for each in bounds]
        total = curves[name][0] + torch.trapezoid(torch.xlogy(qs[name], qs[name] / p), z)
        print(f"{name:12s} ELBO + KL(q‖p) {total:10.5f} ± {bounds[0].stderr:.5f}   expected {log_z:.5f}")
    print(
        f"one mode, 128 samples{' ':6}{curves['normal: seeks'][-1]:10.5f}   loses log 2: {log_z - math.log(2):.5f}"
    )
    qs["normal: covers"] = Normal(0.0, torch.trapezoid(p * z**2, z).sqrt()).log_prob(z).exp()
    for name, q in qs.items():
        forward, backward = (torch.trapezoid(torch.xlogy(f, f / g), z) for f, g in ((q, p), (p, q)))
        print(f"{name:14s} KL(q‖p) {forward:7.4f}   KL(p‖q) {backward:7.4f}")

    with style():
        fig = figure(11, 3.3)
        a, b, c = fig.subplots(1, 3)
        a.plot(sweep, [each[0] for each in terms], label="ELBO")
        a.fill_between(sweep, [each[0] for each in terms], 1.548587, color=COLOURS[1], alpha=0.3, label="KL")
        a.set(xlabel="q(s = 1)", ylabel="nats", title="two states ±1.5: ELBO + KL(q ‖ p) = log Z")
        b.fill_between(z, p, color=GREY, alpha=0.25, label="p(z | x = 4)")
        for name, q in qs.items():
            b.plot(z, q, label=name)
        b.set(xlabel="z", ylabel="density", title="posterior and three q", ylim=(0, 1.9))
        for name, curve in curves.items():
            c.semilogx(samples, curve, "o-", label=name)
        c.axhline(log_z, color=GREY, ls=":", label="log p(x = 4)")
        c.axhline(log_z - math.log(2), color=GREY, ls="--", label="log p(x = 4) − log 2")
        c.set(xlabel="K, samples", ylabel="bound, nats", title="importance-weighted bounds")
        for axes in (a, b, c):
            axes.legend()
        fig.savefig("variational_toy.png", dpi=110)


if __name__ == "__main__":
    main()
