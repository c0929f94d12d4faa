"""Laws of an exact density p and draws x ~ p: p is normalised, and the two belong together.

    Stein:       E[(vᵀ∇log p(x)) (vᵀx − vᵀm)] = −‖v‖²          (scales and correlations, for every direction v)
    reciprocal:  E[1{p(x) > τ} q(x)/p(x)] = Q(p > τ)            (the normalising constant, for any Gaussian q)

Stein's identity holds where p is absolutely continuous and vanishes at infinity; the weights of the reciprocal one
are bounded, whatever the tails.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, constraints

from unigen.queries import seeded
from unigen.relations.evidence import FALSE_POSITIVE, Claim, statistical
from unigen.samplers.ancestral import Ancestral
from unigen.testing.case import Case, DoesNotApply, judge

STATES = 4096  # largest number of states of a discrete x that is enumerated


def normalised(case: Case) -> str:
    """An exact density of one or two dimensions integrates to one; a small discrete one sums to one."""
    case.need_exact()
    if case.program.structure.observed.discrete:
        total = case.log_prob(_states(case)).exp().sum().item()
        return judge([Claim("Σ p(x)", total, 1.0, 1e-4)])
    if case.dims > 2:
        raise DoesNotApply(f"{case.dims} dimensions: see 'density and draws'")
    x = case.draws(2000).double().reshape(2000, case.dims)
    low, high = x.amin(0) - 8 * x.std(0), x.amax(0) + 8 * x.std(0)
    low = low.clamp_min(float(getattr(case.support, "lower_bound", -math.inf)))
    high = high.clamp_max(float(getattr(case.support, "upper_bound", math.inf)))
    fine, coarse = (_integral(case, low, high, n) for n in _points(case))
    if abs(fine - coarse) > 0.01:
        raise DoesNotApply(f"a grid does not resolve the density: {coarse:.4g}, then {fine:.4g}")
    return judge([Claim("∫ p(x) dx", fine, 1.0, 5e-3 + 2 * abs(fine - coarse))])


def _points(case: Case) -> tuple[int, int]:
    """Midpoints along each axis, of a fine and a coarse grid."""
    if case.costly:
        return (400, 200) if case.dims == 1 else (48, 32)
    return (8000, 4000) if case.dims == 1 else (400, 200)


def _integral(case: Case, low: Tensor, high: Tensor, points: int) -> float:
    step = (high - low) / points  # midpoints: no point lies on the boundary of the support
    axes = [a + s * (torch.arange(points) + 0.5) for a, s in zip(low, step, strict=True)]
    grid = torch.cartesian_prod(*axes).reshape(-1, *case.program.event_shape)
    return (case.log_prob(grid.to(case.program.dtype)).exp().sum() * step.prod()).item()


def _states(case: Case) -> Tensor:
    support: Any = case.support
    if isinstance(support, type(constraints.boolean)):
        low, high = 0, 1
    elif hasattr(support, "upper_bound"):
        low, high = int(support.lower_bound), int(support.upper_bound)
    else:
        raise DoesNotApply(f"the support {support} is not finite")
    if (high - low + 1) ** case.dims > STATES:
        raise DoesNotApply(f"more than {STATES} states")
    states = torch.tensor(list(itertools.product(range(low, high + 1), repeat=case.dims)))
    return states.reshape(-1, *case.program.event_shape).to(case.program.dtype)


def agreement(case: Case) -> str:
    """Draws come from the density: Stein's identity and the reciprocal one, or the counts of all states."""
    case.need_exact()
    if case.program.structure.observed.discrete:
        return _counts(case)
    if not isinstance(case.support, type(constraints.real)):
        raise DoesNotApply(f"the support {case.support} has a boundary")
    sampler = case.program.sampler
    if sampler is not None and not isinstance(sampler, Ancestral):
        raise DoesNotApply(f"draws by {sampler} are approximate")
    x = case.draws(case.size, seed=1)
    return judge([*_stein(case, x), *_reciprocal(case, x)])


def _counts(case: Case) -> str:
    states, n = _states(case), 20_000
    p = case.log_prob(states).exp()
    x = case.draws(n).reshape(n, -1)
    seen = (x[:, None] == states.reshape(1, p.shape[0], -1)).all(-1).double().mean(0)
    rate, names = FALSE_POSITIVE / p.shape[0], states.reshape(p.shape[0], -1).tolist()
    claims = []
    for s, a, b in zip(names, seen.tolist(), p.tolist(), strict=True):
        error = math.sqrt(max(b * (1 - b), 0) / n)  # Poisson tail of a rare state: 30 counts
        claims.append(statistical(f"P({s})", a, b, error, bias=30 / n, false_positive=rate))
    return judge(claims)


def _stein(case: Case, x: Tensor) -> list[Claim]:
    with seeded(case.seed, x.device):
        directions = torch.cat([torch.eye(case.dims), torch.randn(min(case.dims, 16), case.dims)])[
            :80
        ].double()
    pilot = case.draws(1000, seed=2).double().reshape(1000, -1)
    m, sd = pilot.mean(0), pilot.std(0).clamp_min(1e-12)
    s = case.program.score(x, case.first).double().reshape(x.shape[0], -1) * sd
    y = (x.double().reshape(x.shape[0], -1) - m) / sd
    directions = directions / directions.norm(dim=1, keepdim=True)
    along = (s @ directions.mT) * (y @ directions.mT)
    table = {
        "mean of the score": s,
        "Stein, by direction": along,
        "Stein, trace / D": (s * y).mean(1, keepdim=True),
    }
    claims = []
    for name, values in table.items():
        truth = 0.0 if name == "mean of the score" else -1.0
        mean, error = values.mean(0), values.std(0) / math.sqrt(x.shape[0])
        rate = FALSE_POSITIVE / values.shape[1]
        claims += [
            statistical(name, a, truth, b, bias=1e-5, false_positive=rate)
            for a, b in zip(mean.tolist(), error.tolist(), strict=True)
        ]
    return claims


def _reciprocal(case: Case, x: Tensor) -> list[Claim]:
    n = min(20_000, x.shape[0])
    x = x[:n].double().reshape(n, -1)
    if n < 4 * case.dims:
        return []
    pilot = case.draws(n, seed=3)  # q and τ from draws of their own: fitted to x, q would be too large on x
    rows = pilot.double().reshape(n, -1)
    q = MultivariateNormal(rows.mean(0), 0.9 * torch.cov(rows.mT).reshape(case.dims, case.dims))

    def log_p(rows: Tensor) -> Tensor:
        return case.log_prob(rows.reshape(n, *case.program.event_shape).to(case.program.dtype))

    with seeded(case.seed, x.device):
        inside_q = log_p(q.sample((n,)))
    inside_p = log_p(x)
    tau = log_p(pilot.double()).quantile(0.05)
    right = (inside_q > tau).double()
    weight = torch.where(inside_p > tau, (q.log_prob(x) - inside_p).exp(), 0.0)
    if right.sum() < 100 or weight.sum() ** 2 / weight.square().sum() < 100:
        return []
    error = math.hypot((right.std() / n**0.5).item(), (weight.std() / n**0.5).item())
    return [statistical("E[q/p; p > τ] = Q(p > τ)", weight.mean().item(), right.mean().item(), error)]
