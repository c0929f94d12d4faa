"""PPCA and factor analysis with missing entries against brute force, one another and complete data."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from pyro.infer import Trace_ELBO

import unigen as ug
from tests import problems
from tests.programs import traces_with_symbolic_batch
from unigen.errors import EmptyDataError, NonFiniteError
from unigen.models.factor_analysis import FactorAnalysis
from unigen.models.ppca import PPCA
from unigen.objectives.elbo import ELBO, elbo
from unigen.objectives.likelihood import EM, ClosedForm, MaximumLikelihood

FAMILIES = [PPCA, FactorAnalysis]


def holed(n: int = 200, d: int = 4, share: float = 0.3, rank: int = 2) -> torch.Tensor:
    """Correlated data with a share of its entries missing and the first row missing altogether."""
    x = torch.randn(n, rank).double() @ torch.randn(rank, d).double() + 0.5 * torch.randn(n, d).double() + 3.0
    x[torch.rand(n, d) < share] = torch.nan
    x[0] = torch.nan
    return x


def explicit_step(w, mean, psi, x):
    """Return (W, μ, Σ_n E residual² (D,), counts (D,)) of one EM step, every row by its own dense conditional."""
    d, q = w.shape
    second, cross, square = np.zeros((d, q + 1, q + 1)), np.zeros((d, q + 1)), np.zeros(d)
    for row in x:
        o = ~np.isnan(row)
        loc, covariance = np.zeros((1, q)), np.eye(q)
        if o.any():
            loc, covariance = problems.gaussian_posterior(w[o], psi[o], mean[o], row[o][None])
        a = np.append(loc[0], 1.0)
        spread = np.outer(a, a)
        spread[:q, :q] += covariance
        for j in np.flatnonzero(o):
            second[j], cross[j], square[j] = (
                second[j] + spread,
                cross[j] + row[j] * a,
                square[j] + row[j] ** 2,
            )
    b = np.stack([np.linalg.solve(m, c) for m, c in zip(second, cross, strict=True)])
    residual = square - (b * cross).sum(1)
    return b[:, :q], b[:, q], residual, (~np.isnan(x)).sum(0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_is_that_of_explicit_conditionals(family):
    x = holed(40)
    program = family(4, 2, missing=True).double()
    program.initialise(x)
    for _ in range(2):
        noise = program.marginal().covariance_matrix.detach() - (program.weight @ program.weight.mT).detach()
        now = (program.weight.detach().numpy(), program.mean.detach().numpy(), noise.diagonal().numpy())
        w, mean, residual, count = explicit_step(*now, x.numpy())
        program.em_step(x)
        assert np.allclose(program.weight.detach(), w, atol=1e-9)
        assert np.allclose(program.mean.detach(), mean, atol=1e-9)
        if family is PPCA:
            assert program.variance.item() == pytest.approx(residual.sum() / count.sum(), abs=1e-9)
        else:
            assert np.allclose(program.noise.detach(), residual / count, atol=1e-9)


def gaussian_em(x: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of an unrestricted Gaussian by EM over the missing entries (Little & Rubin, ch. 11)."""
    d = x.shape[1]
    mean, s = np.nanmean(x, 0), np.diag(np.nanvar(x, 0))
    for _ in range(steps):
        filled, extra = np.empty_like(x), np.zeros((d, d))
        for i, row in enumerate(x):
            o = ~np.isnan(row)
            gain = s[:, o] @ np.linalg.inv(s[np.ix_(o, o)])
            filled[i] = mean + gain @ (row[o] - mean[o])
            extra += s - gain @ s[o]
        mean = filled.mean(0)
        s = (filled - mean).T @ (filled - mean) / len(x) + extra / len(x)
    return mean, s


@pytest.mark.parametrize("family", FAMILIES)
def test_as_many_latents_as_a_full_covariance_needs_are_the_unrestricted_gaussian(family):
    """With q = D − 1 both families hold every covariance of three features (Ledermann's bound for FA: q ≥ 1)."""
    x = holed(100, 3)
    mean, s = gaussian_em(x.numpy(), 600)
    program = family(3, 2, missing=True).double()
    ug.fit(program, x, objective=EM(), steps=4000, progress=False)
    p = program.marginal()
    best = 0.0
    for row in x.numpy()[1:]:
        o = ~np.isnan(row)
        if o.any():
            best += problems.gaussian_log_density(row[o], mean[o], s[np.ix_(o, o)])[0]
    # both stop where a step gains less than 1e-7 an example, which leaves about as much per unit of convergence rate
    assert program.log_prob(x).value.sum().item() == pytest.approx(best, abs=100 * 1e-4)
    assert np.allclose(p.covariance_matrix.detach(), s, atol=0.05 * np.abs(s).max())


@pytest.mark.parametrize("family", FAMILIES)
def test_em_never_falls_and_closes_on_complete_data(family):
    x = holed()
    program = family(4, 1, missing=True).double()
    program.initialise(x)
    values = []
    for _ in range(150):
        program.em_step(x)
        values.append(program.log_prob(x).mean().value)
    assert all(b >= a - 1e-11 for a, b in pairwise(values))
    twin = family(4, 1).double()
    twin.load_state_dict(program.state_dict())
    complete = program.impute(x)
    program.em_step(complete)
    twin.em_step(complete)
    for a, b in zip(program.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-12)


def test_nothing_missing_reaches_the_closed_form():
    """THEOREMS 1, 31: log-likelihood −7.526216."""
    x = problems.spectrum_data(mean=1.5)
    program = PPCA(5, 2, missing=True).double()
    assert isinstance(program.objective, EM)
    ug.fit(program, x, steps=1000, progress=False)
    assert program.log_prob(x).mean().value == pytest.approx(-7.526216, abs=2e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_repeat_rows(family):
    x, r = holed(30), torch.arange(30) % 3
    a, b = family(4, 2, missing=True).double(), family(4, 2, missing=True).double()
    b.load_state_dict(a.state_dict())
    a.em_step(x, weights=r.double())
    b.em_step(x.repeat_interleave(r, 0))
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_bound_is_tight_and_pyros_own(family):
    x = holed(20)
    program = family(4, 2, missing=True).double()
    exact = program.log_prob(x)
    assert exact.value[0] == 0 and exact.kind is ug.Kind.EXACT
    assert (elbo(program, x) - exact.value).abs().max() < 1e-9
    loss = Trace_ELBO().loss(program.model, program.guide, x)
    assert loss == pytest.approx(-exact.value.sum().item(), abs=1e-8)
    assert torch.equal(program.encode(x)[0], torch.zeros(2).double())
    assert torch.allclose(program.posterior(x).covariance_matrix[0], torch.eye(2).double())
    filled = program.impute(x)
    assert torch.equal(filled[~x.isnan()], x[~x.isnan()])
    assert torch.allclose(filled[x.isnan()], program.reconstruct(x)[x.isnan()], atol=1e-12)


@pytest.mark.parametrize(("family", "objective"), [(PPCA, ELBO()), (FactorAnalysis, MaximumLikelihood())])
def test_gradients_reach_what_em_reaches(family, objective):
    x = holed(150, 6, rank=1)  # six features: no noise variance runs to zero, where gradients crawl
    best, program = family(6, 1, missing=True).double(), family(6, 1, missing=True).double()
    ug.fit(best, x, objective=EM(), progress=False)
    ug.fit(program, x, objective=objective, steps=400, batch_size=150, lr=0.05, progress=False)
    assert program.log_prob(x).mean().value == pytest.approx(best.log_prob(x).mean().value, abs=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("objective", [MaximumLikelihood(), ELBO()])
def test_steps_trace_with_a_symbolic_batch(family, objective):
    assert traces_with_symbolic_batch(family(5, 2, missing=True), objective, holed(8, 5).float())


@pytest.mark.usefixtures("interpreted_steps")
def test_compiled_training_is_eager_training():
    x, losses = holed(50), []
    for compiled in (False, True):
        torch.manual_seed(0)
        program = PPCA(4, 2, missing=True).double()
        record = ug.fit(
            program, x, objective=MaximumLikelihood(), steps=5, batch_size=20, lr=0.01, seed=0,
            compile=compiled, progress=False,
        )  # fmt: skip
        assert record.compiled is compiled, record.notes
        losses.append(program.log_prob(x).value)
    assert torch.allclose(losses[0], losses[1], atol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_laws_and_files(family, tmp_path):
    program = family(2, 1, missing=True)
    x = holed(64, 2).float()
    ug.check_program(program, x)
    again = ug.load(ug.save(program, tmp_path / "a.safetensors"))
    assert again.missing and torch.equal(again.log_prob(x).value, program.log_prob(x).value)


@pytest.mark.parametrize("family", FAMILIES)
def test_nan_without_the_option_is_refused_and_the_option_named(family):
    x = holed()
    program = family(4, 2)
    for ask in (program.log_prob, program.encode, program.impute, lambda x: ug.fit(program, x)):
        with pytest.raises(NonFiniteError, match=rf"{family.__name__}\(…, missing=True\)"):
            ask(x)
    with pytest.raises(NonFiniteError):
        program.em_step(x)
    with pytest.raises(NonFiniteError, match="non-finite"):
        family(4, 2, missing=True).log_prob(torch.full((1, 4), torch.inf))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("objective", [EM(), MaximumLikelihood(), ELBO()])
def test_a_feature_never_observed_is_refused(family, objective):
    x = holed()
    x[:, 2] = torch.nan
    with pytest.raises(EmptyDataError, match="feature 2 missing"):
        ug.fit(family(4, 2, missing=True), x, objective=objective)
    with pytest.raises(EmptyDataError, match="never observed"):
        ug.fit(family(4, 2, missing=True), torch.full((3, 4), torch.nan), objective=objective)


def test_the_closed_form_refuses_missing_entries():
    with pytest.raises(NonFiniteError, match="missing=True"):
        PPCA(4, 2, missing=True).solve(holed())
    program = PPCA(4, 2, objective=ClosedForm(), missing=True)
    assert "converged" in ug.fit(program, holed(), progress=False).stopped
