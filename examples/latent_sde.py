"""A latent SDE of the Lorenz attractor, seen at irregular times: posterior paths, and draws of the learned prior."""

from __future__ import annotations

import argparse

import matplotlib.pyplot as plt
import torch

import unigen as ug
from unigen.dynamics.solvers import integrate_sde

NOISE = 0.05


def drift(t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Lorenz's equations, around the middle of the attractor and in units of 8."""
    x, y, w = (8 * z + torch.tensor([0.0, 0.0, 25.0])).unbind(-1)
    return torch.stack((10 * (y - x), x * (28 - w) - y, x * y - 8 / 3 * w), -1) / 8


def lorenz(n: int, steps: int) -> torch.Tensor:
    """Return n paths with a little noise over [0, 1], started on the attractor, (n, steps + 1, 3)."""
    start = integrate_sde(drift, lambda t, z: 0.05, torch.randn(n, 3), torch.linspace(0, 4, 2001))
    grid = torch.linspace(0, 1, 10 * steps + 1)
    return integrate_sde(drift, lambda t, z: 0.05, start, grid, trajectory=True)[::10].movedim(0, 1)


def main() -> None:
    """Fit, print the bound and the error where nothing was seen, and draw data, posterior and prior."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    truth, times = lorenz(1024, 50), torch.linspace(0, 1, 51).tolist()
    x = truth + NOISE * torch.randn_like(truth)
    seen = torch.where(torch.rand(*x.shape[:2], 1) < 0.7, x, torch.nan)  # each series has times of its own

    parts = {"diffusion": ug.ConstantNoise(3, 0.3), "likelihood": ug.Gaussian(NOISE), "hidden": (64, 64)}
    program = ug.LatentSDE(3, times, 3, dt=0.02, missing=True, **parts)
    warmup = ug.ELBO(beta=ug.LinearWarmup(max(1, steps // 10)))
    ug.fit(program, seen[64:], objective=warmup, steps=steps, batch_size=64, lr=1e-2, seed=0)
    print("bound, nats a series:", program.log_prob(seen[:64], density=ug.Importance(20)).mean())
    error = (program.impute(seen[:64]) - truth[:64])[seen[:64].isnan()]
    print(f"root mean square error at the times not seen: {error.square().mean().sqrt():.3f}")

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    paths = program.decode(program.posterior(seen[:1].expand(20, -1, -1)).sample())
    axes[0].plot(times, paths[..., 0].T, color="C0", alpha=0.3, lw=0.8)
    axes[0].plot(times, seen[0, :, 0], "k.")
    axes[0].set(title="a series, and paths of its posterior", xlabel="time", ylabel="$x_1$")
    for axis, which, name in ((axes[1], x[:30], "data"), (axes[2], program.sample(30, seed=1), "prior")):
        axis.plot(which[..., 0].T, which[..., 2].T, lw=0.7)
        axis.set(title=name, xlabel="$x_1$", ylabel="$x_3$", xlim=(-3, 3), ylim=(-3.2, 3.2))
    figure.savefig("latent_sde.png", dpi=110)


if __name__ == "__main__":
    main()
