"""The program that an index names, and the mixture, against the programs themselves."""

from __future__ import annotations

import torch

from tests.programs import Conditional
from unigen.distributions.choice import Chosen, ProgramMixture, check_components, log_prob_table
from unigen.logprob import Kind
from unigen.models.energy import EnergyModel
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE


def programs() -> list[PPCA]:
    parts = [PPCA(3, 1).double(), PPCA(3, 2).double()]
    with torch.no_grad():
        parts[1].mean.add_(50.0)
    return parts


def test_the_index_picks_the_density_for_any_batch():
    parts, x = programs(), torch.randn(5, 3).double()
    table = torch.stack([p.log_prob(x).value for p in parts], -1)
    assert torch.allclose(log_prob_table(parts, x), table)
    index = torch.tensor([0, 1, 1, 0, 1])
    assert torch.allclose(Chosen(parts, index).log_prob(x), table[range(5), index])
    every = torch.tensor([[0], [1]])  # as Pyro enumerates
    assert torch.allclose(Chosen(parts, every).log_prob(x), table.mT)
    particles = torch.randint(0, 2, (4, 5))
    found = Chosen(parts, particles).log_prob(x)
    assert torch.allclose(found, table.expand(4, 5, 2).gather(-1, particles[..., None])[..., 0])
    assert torch.allclose(Chosen(parts, index).surrogate(x), table[range(5), index])


def test_draws_come_from_the_program_that_is_named():
    index = torch.tensor([0, 1, 0])
    chosen = Chosen(programs(), index).expand(torch.Size([2, 3]))
    draws = chosen.sample(torch.Size([100]))
    assert draws.shape == (100, 2, 3, 3)
    assert (draws[..., 1, :].mean() - 50).abs() < 2 and draws[..., [0, 2], :].mean().abs() < 2
    assert torch.allclose(chosen.mean[:, 1], torch.tensor(50.0).double())


def test_contexts_reach_the_rows_they_belong_to():
    parts, c = [Conditional(), Conditional()], torch.randn(6, 3)
    index, x = torch.tensor([0, 1, 0, 1, 1, 0]), torch.randn(6, 2)
    own = torch.stack([p.log_prob(x, c).value for p in parts], -1)
    assert torch.allclose(Chosen(parts, index, c).log_prob(x), own[range(6), index])
    mixture = ProgramMixture(torch.zeros(2), parts, c)
    assert torch.allclose(mixture.log_prob(x), own.logsumexp(-1) - torch.tensor(2.0).log())
    assert mixture.batch_shape == (6,) and mixture.sample(torch.Size([4])).shape == (4, 6, 2)
    torch.manual_seed(0)
    with torch.no_grad():
        for part in parts:
            part.log_scale.fill_(-20.0)
        means = torch.stack([part.mean(c) for part in parts], 1)[range(6), index]
        assert torch.allclose(Chosen(parts, index, c).sample(), means, atol=1e-5)


def test_the_mixture_draws_by_its_weights():
    mixture = ProgramMixture(torch.tensor([0.8, 0.2]).log(), programs()).expand(torch.Size([10]))
    draws = mixture.sample(torch.Size([1000]))
    assert draws.shape == (1000, 10, 3)
    share = (draws[..., 0] > 25).double().mean()
    assert (share - 0.2).abs() < 5 * (0.16 / 10_000) ** 0.5


def test_kinds_add():
    assert check_components([PPCA(3, 1), PPCA(3, 1)], "M") == (Kind.EXACT, 0)
    assert check_components([PPCA(3, 1), VAE(3, 1, context=2)], "M") == (Kind.LOWER_BOUND, 2)
    assert check_components([PPCA(3, 1), VAE(3, 1), EnergyModel(3)], "M") == (Kind.UNNORMALISED, 0)
