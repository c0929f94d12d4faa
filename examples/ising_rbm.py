"""Ising spins and a restricted Boltzmann machine: what each way around the normaliser costs, beside enumeration.

Left: log Z of 3 × 3 spins. Mean field bounds it from below; belief propagation, which keeps pairs, is closer but no
bound. Middle: the means of the spins, of which only the one at the centre feels a field. Mean field is too sure, since
its spins do not fluctuate together. Right: a machine learns the 30 bars and stripes of 4 × 4 bits. Nothing exceeds
−log 30; contrastive divergence from the data (CD-1) settles well below what the likelihood reaches.
"""

from __future__ import annotations

import argparse
import math

import torch

import unigen as ug
from unigen.inference.run import StepEvent
from unigen.plots.style import GREY, figure, style
from unigen.relations.rbm_likelihood import bars_and_stripes


def spins(coupling: float = 0.6, field: float = 0.3) -> ug.Ising:
    """Return 3 × 3 spins with a field on the middle one."""
    couplings = ug.Ising.grid(3, 3, coupling=coupling).couplings.detach().double()
    return ug.Ising.from_couplings(couplings, field * (torch.arange(9) == 4).double())


def main() -> None:
    """Print log Z by every normaliser, couplings learned from draws, and log-likelihoods of machines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3000)
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    field, bethe, ising = ug.NaiveMeanField(), ug.BeliefPropagation(damping=0.3), spins()
    kinds = {"exact": ug.Enumeration(), "mean field": field, "Bethe": bethe}
    annealed = ug.AnnealedNormaliser(steps // 10 + 1, 400)
    for name, each in {**kinds, "annealed": annealed}.items():
        found, wanted = each.log_z(ising), 8.019951 if each is field else 8.714412
        print(
            f"log Z, {name:12s} {found.value:9.6f} ± {found.stderr or 0:.4f}  expected {wanted} ({found.kind})"
        )
    x, learned = ising.states().sample(10 * steps), ug.Ising.grid(3, 3).double()
    ug.fit(learned, x, objective=ug.PseudoLikelihood(), steps=steps // 4 + 1, lr=0.05, batch_size=5000)
    print(f"mean J by pseudo-likelihood {learned.coupling.mean():.4f}            expected .6")

    bits, curves = bars_and_stripes(4), {}
    cd, pcd = ug.GibbsContrastiveDivergence(1, persistent=False), ug.GibbsContrastiveDivergence(5)
    for name, objective in {"CD-1": cd, "PCD-5": pcd, "likelihood": ug.MaximumLikelihood()}.items():
        rbm, curve = ug.RBM(16, 10, density=ug.Normalised()), []

        def watch(event: StepEvent, curve: list[tuple[int, float]] = curve) -> None:
            if event.step % 50 == 1:
                curve.append((event.step, float(event.program.log_prob(bits).mean().value)))

        ug.fit(rbm, bits, objective=objective, steps=steps, batch_size=30, lr=0.02, callbacks=[watch], seed=0)
        curves[name] = torch.tensor(curve).T
        print(f"mean log p, {name:10s} {curves[name][1, -1]:8.4f}                at most {-math.log(30):.4f}")
    print("the last machine:", annealed.bracket(rbm))

    with style(), torch.no_grad():
        fig, grid = figure(11, 3.3), torch.linspace(0, 1, 21)
        (a, b, c), states = fig.subplots(1, 3), torch.cat(list(ising.states().chunks()))
        means = {"exact": ising.log_prob(states).value.softmax(0) @ states}
        for i, (name, each) in enumerate(kinds.items()):
            a.plot(grid, [each.log_z(spins(float(j), 0.05)).value for j in grid], label=name)
            b.plot(range(1, 10), means[name] if i == 0 else each.solve(ising).mean, "o-", label=name)
        a.set(xlabel="coupling J", ylabel="log Z, nats", title="spins, field .05 at the centre")
        b.set(xlabel="spin, row by row", ylabel="E s", title="J = .6, field .3 at the centre", ylim=(0, 1.4))
        for name, curve in curves.items():
            c.plot(*curve, label=name)
        c.axhline(-math.log(30), color=GREY, ls=":", label="−log 30")
        c.set(xlabel="step", ylabel="mean log p, nats", title="bars and stripes", ylim=(-9, -3))
        for axes in (a, b, c):
            axes.legend()
        fig.savefig("ising_rbm.png", dpi=110)


if __name__ == "__main__":
    main()
