"""A linear VAE trained on data reaches PPCA's likelihood."""

from __future__ import annotations

import torch

import unigen as ug
from unigen.relations.ppca_vae import PPCALinearVAE


def test_training_on_digits_reaches_ppca_to_a_thousandth_of_a_nat():
    """Six pixels of 300 digits, one-sample bounds, from the usual start."""
    x = ug.data.digits(dtype=torch.float64).train[:300].reshape(-1, 8, 8)[:, 2:4, 2:5].reshape(-1, 6)
    ppca = ug.PPCA(6, 2).double()
    ug.fit(ppca, x)
    vae = ug.linear_vae(6, 2).double()
    stl = ug.ELBO(gradient="stl", analytic=False)  # no noise where q is the posterior
    ug.fit(vae, x, objective=stl, steps=1500, batch_size=300, lr=5e-2, schedule=ug.Cosine(), seed=0)
    gap = ppca.log_prob(x).mean().value - PPCALinearVAE().elbo(vae, x).mean().item()
    assert -1e-9 < gap < 1e-3
