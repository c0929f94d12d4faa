"""The composition matrix: every prior × posterior × decoder trains, draws, and scores with the right kind."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import pytest
import torch

import unigen as ug
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.step import EagerStep
from unigen.logprob import Kind
from unigen.models.vae import VAE
from unigen.queries import seeded
from unigen.study.composition import DECODERS, FEATURES, POSTERIORS, PRIORS, cell, cells, data
from unigen.testing.check import check_program
from unigen.traces import log_weights

KINDS = dict.fromkeys(PRIORS, Kind.LOWER_BOUND) | {"energy": Kind.UNNORMALISED}
P_Z = {
    "Gaussian": "p(z)", "mixture": "p_GaussianMixture(z)", "Vamp": "p_VampPrior(z)", "flow": "p_NSF(z)",
    "autoregressive": "p_MADE(z)", "energy": "p_EnergyModel(z)", "diffusion": "p_Diffusion(z)", "VAE": "p_VAE(z)",
}  # fmt: skip
P_X = dict.fromkeys(DECODERS, "p(x | z)") | {"autoregressive": "p_MADE(x | z)", "flow": "p_NSF(x | z)"}
Q_Z = dict.fromkeys(POSTERIORS, "q(z | x)") | {"flow": "q_IAF(z | x)"}
STEPS, SAMPLES = 12, 4


def reconstruction(vae: VAE, x: torch.Tensor) -> torch.Tensor:
    """Return E_q log p(x | z) in nats an example, shape (), from the same noise at every call."""
    model, guide = (functools.partial(run, x, None, x.shape[0]) for run in (vae.model, vae.guide))
    with seeded(1, vae.device):
        return log_weights(model, guide, samples=64, surrogate=True).parts["x"].mean()


def train(vae: VAE, x: torch.Tensor) -> tuple[list[float], set[str]]:
    """Take steps on one noise; return the losses and the parameters that never had a gradient."""
    loss = ug.ELBO(samples=SAMPLES).players(vae)[0].loss
    parameters = dict(loss.named_parameters())
    optimizer, losses, unreached = torch.optim.Adam(parameters.values(), lr=0.03), [], set(parameters)
    for _ in range(STEPS):
        with seeded(2, vae.device):
            value = loss(x)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
        unreached = {n for n in unreached if (g := parameters[n].grad) is None or not bool(g.any())}
    return losses, unreached


@pytest.mark.parametrize(
    ("prior", "posterior", "decoder"), list(cells()), ids=lambda part: part.replace(" ", "_")
)
def test_cell_trains_draws_and_scores(prior: str, posterior: str, decoder: str) -> None:
    vae, x = cell(prior, posterior, decoder), data(decoder, 16)
    assert vae.formula == f"p(x, z) = {P_X[decoder]} {P_Z[prior]};  {Q_Z[posterior]}"
    before = reconstruction(vae, x).detach()
    losses, unreached = train(vae, x)
    assert not unreached
    after = reconstruction(vae, x)
    assert after > before + 0.1
    through_draws = torch.autograd.grad(after, list(vae.encoder.parameters()))
    assert all(bool(gradient.any()) for gradient in through_draws)
    assert prior == "energy" or losses[-1] < losses[0] - 0.1  # with its chains' energy the loss is no bound
    draws = vae.sample(5)
    assert draws.shape == (5, FEATURES) and draws.isfinite().all() and vae.support.check(draws).all()
    scored = vae.log_prob(x)
    assert scored.kind is KINDS[prior] is vae.kind
    assert scored.value.shape == (16,) and scored.value.isfinite().all() and scored.stderr is not None
    assert vae.encode(x).shape == (16, 2) and vae.reconstruct(x).shape == x.shape


# -- every part alone: files and traced steps ---------------------------------------------------------------

ALONE = (
    [(prior, "mean-field", "Gaussian") for prior in PRIORS]
    + [("Gaussian", posterior, "Gaussian") for posterior in list(POSTERIORS)[1:]]
    + [("Gaussian", "mean-field", decoder) for decoder in list(DECODERS)[1:]]
)


@pytest.mark.parametrize(("prior", "posterior", "decoder"), ALONE, ids=lambda part: part.replace(" ", "_"))
def test_a_file_brings_every_part_back(prior: str, posterior: str, decoder: str, tmp_path: Path) -> None:
    vae = cell(prior, posterior, decoder)
    again = ug.load(ug.save(vae, tmp_path / "vae.safetensors"))
    x = data(decoder, 4)
    assert again.formula == vae.formula
    assert torch.equal(again.sample(5, seed=1), vae.sample(5, seed=1))
    assert torch.equal(again.log_prob(x, seed=1).value, vae.log_prob(x, seed=1).value)


@pytest.mark.parametrize(("prior", "posterior", "decoder"), ALONE, ids=lambda part: part.replace(" ", "_"))
def test_the_traced_step_is_the_eager_one(prior: str, posterior: str, decoder: str) -> None:
    vae, x = cell(prior, posterior, decoder).double(), data(decoder, 12).double()
    found = []
    for compiled in (True, False):
        twin = copy.deepcopy(vae)
        player = ug.ELBO(samples=2).players(twin)[0]
        optimizer = torch.optim.Adam(player.parameters.values(), lr=1e-2)
        parts = (player.loss, player.parameters, optimizer)
        step = (
            CompiledStep(*parts, example=(x, None), compiler=interpreted) if compiled else EagerStep(*parts)
        )
        with seeded(3, vae.device):
            for size in (12, 12, 7):
                step(x[:size], None)
        found.append(torch.cat([p.detach().flatten() for p in twin.parameters()]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-8, atol=1e-10)


def test_every_law_holds_where_all_three_parts_are_programs() -> None:
    assert check_program(cell("flow", "flow", "autoregressive"), data("autoregressive", 50), budget=20_000)
