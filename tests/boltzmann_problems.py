"""Oracles for models of binary units: all states of both layers, by brute force in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from unigen.models.ising import Ising
from unigen.models.rbm import RBM


def states(units: int, low: float = 0.0) -> Tensor:
    """Return all states of binary units, shape (2^units, units), float64."""
    values = torch.tensor([low, 1.0], dtype=torch.float64)
    return torch.cartesian_prod(*[values] * units).reshape(-1, units)


def random_rbm(features: int = 5, hidden: int = 4, scale: float = 1.0, **options) -> RBM:
    """Return an RBM with weights and biases of a given scale, in float64, and a centre off one half."""
    rbm = RBM(features, hidden, **options).double()
    with torch.no_grad():
        rbm.joint.weight.copy_(scale * torch.randn(features, hidden))
        rbm.joint.bias.copy_(scale * torch.randn(hidden))
        rbm.joint.visible.bias.copy_(scale * torch.randn(features))
        rbm.joint.visible.mean.copy_(0.2 + 0.6 * torch.rand(features))
    return rbm


def joint_table(rbm: RBM) -> Tensor:
    """Return the log mass x·Wh + b·x + c·h of every pair of states, (2^D, 2^H), from the standard form."""
    w, b, c = rbm.joint.standard()
    x, h = states(w.shape[0]), states(w.shape[1])
    return x @ w @ h.mT + (x @ b)[:, None] + h @ c


def log_p(rbm: RBM) -> Tensor:
    """Return log p(x) of every state, shape (2^D,)."""
    table = joint_table(rbm)
    return table.logsumexp(1) - table.logsumexp((0, 1))


def random_ising(units: int = 6, scale: float = 0.5, edges=None) -> Ising:
    """Return an Ising model with couplings and fields of a given scale, in float64."""
    model = Ising(units, edges).double()
    with torch.no_grad():
        model.coupling.copy_(scale * torch.randn_like(model.coupling))
        model.field.copy_(scale * torch.randn_like(model.field))
    return model


def ising_log_mass(model: Ising) -> Tensor:
    """Return the log mass of every state from its edges, one by one, shape (2^D,)."""
    s = states(model.field.shape[0], -1.0)
    total = s @ model.field
    for (i, j), coupling in zip(model.pairs.tolist(), model.coupling, strict=True):
        total = total + coupling * s[:, i] * s[:, j]
    return total


def chi_squared(x: Tensor, all_states: Tensor, p: Tensor) -> float:
    """Return the p-value of Pearson's test of independent draws against probabilities; rare cells are pooled."""
    from scipy.stats import chi2

    n = x.shape[0]
    index = (x[:, None] == all_states).all(-1).double().argmax(1)
    counts = torch.bincount(index, minlength=p.shape[0]).double()
    common = n * p >= 10
    seen = torch.cat([counts[common], counts[~common].sum().reshape(1)])
    expected = torch.cat([n * p[common], n * p[~common].sum().reshape(1)])
    keep = expected >= 10
    statistic = ((seen - expected).square() / expected)[keep].sum().item()
    return float(chi2.sf(statistic, int(keep.sum()) - 1))
