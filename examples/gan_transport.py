"""A GAN as transport: three maps of the same noise to the same Gaussian, and what three critics see of a mixture.

First three panels: a square grid and noise, carried to N(0, Σ) by a masked flow (Cholesky: triangular), by Brenier's
map (symmetric: the least cost) and by a trained generator, which nothing but chance keeps from turning the plane. All
have the same law; their costs E‖T(z) − z‖², in the titles, differ. Right: what tells ½N(±2, .35²) from N(0, 1). A
classifier's critic is log p/q, dotted; Wasserstein's has slopes up to one; the witness of a kernel (MMD) is smooth and
bounded.
"""

from __future__ import annotations

import argparse
import math

import torch

import unigen as ug
from unigen.data.toy import two_gaussians
from unigen.plots.style import COLOURS, GREY, figure, style
from unigen.plots.warp import plane_grid
from unigen.relations.three_maps import ThreeMaps


def main() -> None:
    """Print costs of maps, and divergences read off critics beside quadrature."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    steps, costs = parser.parse_args().steps, {}
    torch.manual_seed(0)
    cov, eye = torch.tensor([[1.4, 0.8], [0.8, 1.2]]).double(), torch.eye(2).double()
    x = torch.randn(20_000, 2).double() @ torch.linalg.cholesky(cov).mT
    gan = ug.GAN(2, 2, generator=torch.nn.Linear(2, 2), objective=ug.EnergyDistance()).double()
    ug.fit(gan, x, steps=steps, batch_size=500, lr=0.01, seed=0)
    maps = ThreeMaps().maps(cov, 0.0) | {"generator": gan.generator}
    for name, push in maps.items():
        a = (push(eye) - push(0 * eye)).mT.detach()
        costs[name] = float((a - eye).square().sum())
        right = {"MAF": "expected .509785", "Brenier's map": "expected .292050"}.get(name, "at least .292050")
        print(f"cost of {name:13s} {costs[name]:.6f}   {right}   ‖A Aᵀ − Σ‖ {(a @ a.T - cov).norm():.4f}")

    p, t = two_gaussians(2.0, 0.35), torch.linspace(-8, 8, 1601)
    log_p, log_q = p.log_prob(t[:, None]), torch.distributions.Normal(0.0, 1.0).log_prob(t)
    held, draws, same = p.sample((50_000,)), torch.randn(50_000, 1), torch.nn.PReLU(init=1.0)
    critics = {name: ug.Critic(1, hidden=(64, 64)) for name in ("GAN", "WGAN")}
    for game, critic in zip((ug.Minimax(), ug.Wasserstein(penalty=10.0)), critics.values(), strict=True):
        loss = ug.Adversarial(game, critic=critic).players(ug.GAN(1, 1, generator=same))[0].loss
        optimizer = torch.optim.Adam(critic.parameters(), lr=2e-3)
        for _ in range(steps):
            optimizer.zero_grad()
            loss(p.sample((512,))).backward()
            optimizer.step()
    gap, middle = log_p.exp() - log_q.exp(), torch.logaddexp(log_p, log_q) - math.log(2)
    jsd = 0.005 * sum((each.exp() * (each - middle)).sum() for each in (log_p, log_q))
    witness = 0.01 * (-0.5 * (t[:, None] - t).square()).exp() @ gap
    w1, mmd = 0.0001 * gap.cumsum(0).abs().sum(), ug.evaluate.mmd(held[:3000], draws[:3000], 1.0, 0)
    by_gan, by_wgan = critics["GAN"].jensen_shannon(held, draws), critics["WGAN"].wasserstein(held, draws)
    print(f"JSD, a critic's bound   {by_gan:8.4f}            expected {jsd:.6f}")
    print(f"W₁, a critic's bound    {by_wgan:8.4f}            expected {w1:.6f}")
    print(f"MMD² of 3,000 draws     {mmd.value:8.4f} ± {mmd.stderr:.4f}   expected {gap @ witness / 100:.6f}")

    with style(), torch.no_grad():
        (*panels, last), z = (fig := figure(13, 3.5)).subplots(1, 4), torch.randn(400, 2).double()
        for axes, (name, push) in zip(panels, maps.items(), strict=True):
            for i, line in enumerate(push(torch.from_numpy(plane_grid()))):
                axes.plot(*line.T, color=COLOURS[i // 9], lw=0.8)
            axes.plot(*push(z).T, ".", color=GREY, ms=2, zorder=1)
            axes.set(title=f"{name}: {costs[name]:.4f}", xlabel="x₁", ylabel="x₂", xlim=(-4, 4), ylim=(-4, 4))
        last.plot(t, log_p - log_q, ":", color=GREY, label="log p/q")
        for name, critic in critics.items():
            last.plot(t, critic(t[:, None]), label=f"critic, {name}")
        last.plot(t, 10 * witness, label="10 × witness, MMD")
        last.set(xlabel="x", ylabel="critic", title="critics of a mixture", xlim=(-3.2, 3.2), ylim=(-17, 11))
        last.legend(ncols=2)
        fig.savefig("gan_transport.png", dpi=110)


if __name__ == "__main__":
    main()
