"""A program as a distribution: shapes, numbers and kinds are those of its queries."""

from __future__ import annotations

import pytest
import torch

from tests.programs import Conditional, Toy
from unigen.distributions.program import ProgramDistribution
from unigen.errors import NoDensityError
from unigen.logprob import Kind
from unigen.models.energy import EnergyModel
from unigen.models.gan import GAN
from unigen.models.pca import PCA
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE


@pytest.mark.parametrize("batch", [(), (4,), (2, 4)])
@pytest.mark.parametrize("sample", [(), (3,), (3, 1)])
def test_shapes_of_every_batch(batch, sample):
    p = ProgramDistribution(PPCA(3, 1)).expand(torch.Size(batch))
    x = p.sample(torch.Size(sample))
    assert p.batch_shape == batch and x.shape == (*sample, *batch, 3)
    assert p.log_prob(x).shape == p.surrogate(x).shape == (*sample, *batch)
    assert p.log_prob(torch.zeros(3)).shape == batch


def test_numbers_are_the_programs_own_and_contexts_keep_their_rows():
    ppca, x = PPCA(3, 1), torch.randn(5, 3)
    assert torch.allclose(ProgramDistribution(ppca).log_prob(x), ppca.log_prob(x).value)
    program, c, y = Conditional(), torch.randn(4, 3), torch.randn(6, 4, 2)
    p = program.distribution(c)
    expected = torch.stack([program.log_prob(rows, c).value for rows in y])
    assert p.batch_shape == (4,) and torch.allclose(p.log_prob(y), expected, atol=1e-6)
    assert torch.allclose(p.expand(torch.Size((6, 4))).log_prob(y), expected, atol=1e-6)
    with torch.no_grad():
        program.log_scale.fill_(-9.0)
        draws = p.sample(torch.Size((7,)))
        assert torch.allclose(draws, program.mean(c).expand(7, 4, 2), atol=1e-2)


def test_parameters_are_read_at_each_call():
    program = VAE(2, 1, hidden=(4,))
    p, x = program.distribution(), torch.zeros(1, 2)
    before = p.surrogate(x).detach()
    with torch.no_grad():
        for parameter in program.parameters():
            parameter.add_(1.0)
    assert not torch.allclose(p.surrogate(x), before)


def test_kind_label_support_and_gradients():
    kinds = {Toy(): Kind.LOWER_BOUND, EnergyModel(2, hidden=(4,)): Kind.UNNORMALISED, PPCA(3, 1): Kind.EXACT}
    for program, kind in kinds.items():
        p = ProgramDistribution(program)
        assert (p.kind, p.label, p.event_shape) == (kind, type(program).__name__, program.event_shape)
        assert p.support is program.support
    program = VAE(2, 1, hidden=(4,))
    ProgramDistribution(program).surrogate(torch.randn(8, 2)).sum().backward()
    assert all(parameter.grad is not None for parameter in program.parameters())


@pytest.mark.parametrize("part", [lambda: GAN(2, hidden=(4,)), lambda: PCA(2, 1)])
def test_a_part_without_density_draws_and_says_so(part):
    assert ProgramDistribution(part()).kind is None
    with pytest.raises(NoDensityError):
        part().kind  # noqa: B018
    with pytest.raises(NoDensityError, match=r"make no bound: the prior .* has no density"):
        VAE(3, 2, prior=part(), hidden=(4,))
    assert GAN(3, latents=2, prior=part(), hidden=(4,)).sample(2).shape == (2, 3)
