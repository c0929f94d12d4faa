"""The hidden Markov model against enumeration of all paths, and against pyro's enumeration."""

from __future__ import annotations

import itertools

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import TraceEnum_ELBO, config_enumerate

import unigen as ug
from unigen.distributions.likelihoods import Bernoulli, Categorical, Gaussian
from unigen.errors import ArgumentError, NonFiniteError
from unigen.models.hidden_markov import HiddenMarkov

K, T, D = 3, 4, 2


def model(likelihood=None, missing=False):
    program = HiddenMarkov(D, T, K, likelihood=likelihood, missing=missing).double()
    with torch.no_grad():
        for parameter in program.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return program


def by_enumeration(program, x):
    """log Σ_z p(x, z) over all K^T paths, entry by entry, leaving out NaN."""
    start, move = program.initial.log_softmax(-1), program.transition.log_softmax(-1)
    total = []
    for path in itertools.product(range(K), repeat=T):
        log_p = start[path[0]] + sum(move[a, b] for a, b in itertools.pairwise(path))
        for t, k in enumerate(path):
            each = program.likelihood.elementwise(program.emission[k], torch.Size((D,)))
            for d in range(D):
                if not x[t, d].isnan():
                    log_p = log_p + each.log_prob(torch.nan_to_num(x[t]))[d]
        total.append(log_p)
    return torch.logsumexp(torch.stack(total), 0)


@pytest.mark.parametrize("head", [None, Gaussian(), Gaussian(0.7), Bernoulli(), Categorical(4)])
def test_log_prob_is_the_sum_over_all_paths(head):
    program = model(head)
    x = program.sample(3)
    expected = torch.stack([by_enumeration(program, row) for row in x])
    torch.testing.assert_close(program.log_prob(x).value, expected.detach(), atol=1e-8, rtol=0)


def test_log_prob_equals_pyros_enumerated_elbo():
    program = model()
    x = program.sample(5)

    @config_enumerate
    def flat(x):
        fn = program.likelihood.elementwise(program.emission, torch.Size((D,)))
        with pyro.plate("data", x.shape[0]):
            z = None
            for t in range(T):
                logits = program.initial if z is None else program.transition[z]
                z = pyro.sample(f"z_{t}", dist.Categorical(logits=logits))
                pyro.sample(f"x_{t}", dist.Normal(fn.loc[z], fn.scale[z]).to_event(1), obs=x[:, t])

    loss = TraceEnum_ELBO(max_plate_nesting=1).loss(flat, lambda x: None, x)
    assert abs(float(program.log_prob(x).value.sum()) + loss) < 1e-8


def test_missing_entries_and_padding_sum_out():
    program = model(missing=True)
    x = program.sample(4)
    x[0, 2:] = torch.nan
    x[1, 1, 0] = torch.nan
    x[2] = torch.nan
    expected = torch.stack([by_enumeration(program, row) for row in x])
    torch.testing.assert_close(program.log_prob(x).value, expected.detach(), atol=1e-8, rtol=0)
    assert float(program.log_prob(x).value[2]) == pytest.approx(0, abs=1e-12)
    with pytest.raises(NonFiniteError):
        model().log_prob(x)


def test_guide_is_exact_and_viterbi_is_the_best_path():
    program = model()
    x = program.sample(6)
    log_p = program.log_prob(x).value
    from unigen.objectives.elbo import elbo

    torch.testing.assert_close(elbo(program, x), log_p, atol=1e-9, rtol=0)
    best = program.encode(x)
    posterior = program.posterior(x)
    everything = torch.cartesian_prod(*[torch.arange(K)] * T)
    assert torch.equal(best, everything[posterior.log_prob(everything[:, None]).argmax(0)])


def test_training_finds_the_truth():
    """Fitted on 400 sequences, the mean log-likelihood of fresh ones is the truth's, up to p/N and sampling noise."""
    truth = HiddenMarkov(1, 12, 2)
    with torch.no_grad():
        truth.emission.copy_(torch.tensor([[[-1.5, 0.0]], [[1.5, 0.0]]]))
    x, fresh = truth.sample(400), truth.sample(2000)
    program = HiddenMarkov(1, 12, 2)
    ug.fit(program, x, steps=250, seed=0)
    gap = truth.log_prob(fresh).value - program.log_prob(fresh).value
    assert float(gap.mean()) < 10 / 400 + 4 * float(gap.std()) / 2000**0.5


def test_saved_and_loaded(tmp_path):
    program = model().float()
    again = ug.load(ug.save(program, tmp_path / "hmm.safetensors"))
    x = program.sample(2)
    assert torch.equal(again.log_prob(x).value, program.log_prob(x).value)


def test_laws():
    report = ug.check_program(HiddenMarkov(2, 3, missing=True), torch.randn(40, 3, 2))
    assert all(outcome.held is not False for outcome in report.outcomes), report


def test_sizes_below_one_are_refused():
    with pytest.raises(ArgumentError, match="sizes"):
        HiddenMarkov(2, 0)
