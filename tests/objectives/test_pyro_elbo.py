"""Pyro's own ELBOs as objectives: the same value, and the same optimum, as ours."""

from __future__ import annotations

import pyro.infer
import pytest
import torch

import unigen as ug
from unigen.errors import ArgumentError
from unigen.objectives.pyro_elbo import PyroELBO


@pytest.mark.parametrize(
    "elbo", [pyro.infer.Trace_ELBO(), pyro.infer.TraceMeanField_ELBO()],
    ids=["trace", "mean field"],
)  # fmt: skip
def test_under_the_exact_posterior_the_loss_is_the_negative_evidence(elbo: object) -> None:
    x = torch.randn(30, 4, dtype=torch.float64)
    ppca = ug.PPCA(4, 2).double()
    ppca.solve(x)
    loss = PyroELBO(elbo).players(ppca)[0].loss(x)
    if isinstance(elbo, pyro.infer.TraceMeanField_ELBO):  # its KL is averaged over z, the rest is a sample
        assert loss.item() == pytest.approx(-ppca.log_prob(x).mean().value, abs=1.0)
    else:
        assert loss.item() == pytest.approx(-ppca.log_prob(x).mean().value, abs=1e-9)


def test_fit_takes_one_and_leaves_the_global_store_alone() -> None:
    pyro.clear_param_store()
    vae = ug.VAE(4, 2, hidden=(8,))
    record = ug.fit(vae, torch.randn(50, 4), objective=pyro.infer.Trace_ELBO(), steps=30, lr=1e-2, seed=0)
    curve = [value for _, value in record.history["Trace_ELBO"]]
    assert sum(curve[-5:]) < sum(curve[:5]) and not list(pyro.get_param_store().keys())


def test_what_is_no_objective_is_refused() -> None:
    with pytest.raises(ArgumentError, match="an instance"):
        ug.fit(ug.PPCA(4, 2), torch.randn(9, 4), objective=ug.ELBO)
    with pytest.raises(ArgumentError, match=r"pyro\.infer"):
        ug.fit(ug.PPCA(4, 2), torch.randn(9, 4), objective=3)
