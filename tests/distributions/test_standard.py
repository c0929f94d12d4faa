"""Parts that may stand at a site, and the labels they carry."""

from __future__ import annotations

import pytest
import torch
from pyro import distributions as dist
from scipy import stats

from tests.programs import Conditional
from unigen.distributions.standard import StandardNormal, as_distribution, labelled
from unigen.errors import ArgumentError
from unigen.models.ppca import PPCA


def test_standard_normal_by_scipy_and_moves_with_its_module():
    part = StandardNormal(3).double()
    x = torch.randn(5, 3).double()
    expected = stats.norm.logpdf(x.numpy()).sum(-1)
    assert part().log_prob(x).numpy() == pytest.approx(expected)
    assert part().sample().dtype == torch.float64 and not part.state_dict()
    with pytest.raises(ArgumentError, match="features"):
        StandardNormal(0)


def test_labels_survive_expansion_and_change_no_number():
    plain = dist.Normal(torch.zeros(2), 1.0).to_event(1)
    named = labelled(dist.Normal(torch.zeros(2), 1.0).to_event(1), "NSF")
    for each in (named, named.expand((4,)), named.expand((4,)).expand((3, 4))):
        assert each.label == "NSF"
    x = torch.randn(4, 2)
    assert torch.equal(named.expand((4,)).log_prob(x), plain.expand((4,)).log_prob(x))
    assert not hasattr(plain, "label")


def test_programs_distributions_modules_and_functions_are_parts():
    fixed = dist.Normal(torch.zeros(2), 1.0).to_event(1)
    assert as_distribution(fixed) is fixed
    assert as_distribution(StandardNormal(2)).event_shape == (2,)
    assert as_distribution(lambda: fixed) is fixed
    ppca, x = PPCA(3, 1), torch.randn(4, 3)
    assert torch.equal(as_distribution(ppca).log_prob(x), ppca.log_prob(x).value)
    assert (
        as_distribution(ppca, torch.zeros(4, 2)).batch_shape == ()
    )  # unconditional: the context is not for it
    assert as_distribution(Conditional(), torch.zeros(4, 3)).batch_shape == (4,)
    with pytest.raises(ArgumentError, match="NSF"):
        as_distribution("NSF")


def test_distributions_of_torch_alone_are_refused():
    plain = torch.distributions.Normal(0.0, 1.0)
    with pytest.raises(ArgumentError, match=r"pyro\.distributions\.Normal"):
        as_distribution(plain, owner="VAE")
    same = dist.Normal(0.0, 1.0)
    assert as_distribution(same) is same
