"""CD and PCD against exact gradients: by enumeration, and by the transition matrix of the sweep."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.boltzmann_problems import ising_log_mass, joint_table, log_p, random_ising, random_rbm, states
from unigen.densities.normaliser import Normalised
from unigen.errors import ArgumentError, NoDensityError
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.fit import fit
from unigen.inference.step import EagerStep
from unigen.models.ising import Ising
from unigen.models.ppca import PPCA
from unigen.models.rbm import RBM
from unigen.objectives.gibbs_contrast import GibbsContrastiveDivergence
from unigen.objectives.likelihood import MaximumLikelihood

CHAINS = 40_000


def gradient(program, objective, x) -> torch.Tensor:
    """Return the gradient of a loss in all parameters, flattened."""
    (player,) = objective.players(program)
    player.loss.train()
    found = torch.autograd.grad(player.loss(x), list(player.parameters.values()))
    return torch.cat([each.flatten() for each in found])


def energy_gradients(program, x) -> torch.Tensor:
    """Return ∇E(x_i) of each row, shape (N, parameters)."""
    rows = []
    for each in x:
        found = torch.autograd.grad(program.potential(each[None]).sum(), list(program.parameters()))
        rows.append(torch.cat([g.flatten() for g in found]))
    return torch.stack(rows)


def sweep_matrix(rbm: RBM) -> torch.Tensor:
    """Return P(x → x') of one sweep, (2^D, 2^D), Σ_h p(h | x) p(x' | h) from the table."""
    table = joint_table(rbm).detach()
    return table.softmax(1) @ table.softmax(0).mT


def test_at_exact_chains_the_gradient_of_pcd_is_that_of_the_likelihood():
    for program, low in ((random_rbm(4, 3, chains=CHAINS), 0.0), (random_ising(4), -1.0)):
        s = states(4, low)
        if isinstance(program, Ising):
            program.chains = type(program.chains)(CHAINS, (4,)).double()
        program.chains.take(program.states().sample(CHAINS))
        program.chains.put(program.states().sample(CHAINS))
        x = s[torch.randint(16, (6,))]
        got = gradient(program, GibbsContrastiveDivergence(steps=1), x)
        p = (-program.potential(s)).softmax(0).detach()
        each = energy_gradients(program, s)
        stderr = (p @ each.square() - (p @ each).square()).clamp_min(0).sqrt() / CHAINS**0.5
        exact_program = copy.deepcopy(program)
        exact_program.density = Normalised()
        exact = gradient(exact_program, MaximumLikelihood(), x)
        assert bool(((got - exact).abs() < 5 * stderr + 1e-9).all())
        assert bool((exact.abs() > 20 * stderr).any())


@pytest.mark.parametrize("k", [1, 3])
def test_cd_k_is_the_expectation_after_k_sweeps_from_the_data(k):
    rbm, s = random_rbm(4, 3, 2.0), states(4)
    at = int(log_p(rbm).argmin())  # far from where the chains go
    x = s[at].expand(CHAINS, 4)
    got = gradient(rbm, GibbsContrastiveDivergence(steps=k, persistent=False), x)
    p = torch.linalg.matrix_power(sweep_matrix(rbm), k)[at]
    each = energy_gradients(rbm, s)
    exact = each[at] - p @ each
    stderr = (p @ each.square() - (p @ each).square()).clamp_min(0).sqrt() / CHAINS**0.5
    assert bool(((got - exact).abs() < 5 * stderr + 1e-9).all())
    likelihood = each[at] - log_p(rbm).detach().exp() @ each
    if k == 1:  # the bias of CD is there to be seen
        assert bool(((exact - likelihood).abs() > 10 * stderr).any())


def test_the_surrogate_has_the_same_gradient_and_trains_a_part():
    ising = random_ising(3)
    x = states(3, -1.0)
    ising.chains.put(x[torch.arange(100) % 8])
    ising.chains.started.fill_(1.0)
    ising.eval()
    torch.manual_seed(0)
    value = ising.surrogate(x)
    assert value.shape == (8,)
    (player,) = GibbsContrastiveDivergence(steps=1).players(ising)
    player.loss.eval()
    torch.manual_seed(0)
    torch.testing.assert_close(-value.mean(), player.loss(x))


def test_chains_move_on_in_training_and_rest_in_evaluation():
    rbm = random_rbm(6, 4, chains=20)
    (player,) = GibbsContrastiveDivergence(steps=2).players(rbm)
    x = (torch.rand(5, 6) < 0.5).double()
    player.loss.train()
    player.loss(x)
    first = rbm.chains.x.clone()
    player.loss(x)
    assert not torch.equal(rbm.chains.x, first)
    player.loss.eval()
    before = rbm.chains.x.clone()
    player.loss(x)
    assert torch.equal(rbm.chains.x, before)


def test_weight_decay_penalises_matrices_alone():
    rbm = random_rbm(3, 2)
    rbm.chains.take(states(3))
    x, losses = states(3), []
    for alpha in (0.0, 0.7):
        (player,) = GibbsContrastiveDivergence(steps=1, weight_decay=alpha).players(rbm)
        player.loss.eval()
        torch.manual_seed(0)
        losses.append(player.loss(x))
    torch.testing.assert_close(losses[1] - losses[0], 0.7 * rbm.joint.weight.square().sum())


@pytest.mark.parametrize("build", [lambda: RBM(4, 3, chains=6), lambda: Ising.grid(2, 2, chains=6)])
def test_the_traced_step_equals_the_eager_one_and_carries_the_chains(build):
    results = []
    for traced in (False, True):
        torch.manual_seed(0)
        program = build().double()
        (player,) = GibbsContrastiveDivergence(steps=2).players(program)
        optimizer = torch.optim.SGD(player.parameters.values(), lr=0.1, momentum=0.5)
        all_states = states(4, 0.0 if isinstance(program, RBM) else -1.0)
        player.loss.train()
        step = EagerStep(player.loss, player.parameters, optimizer)
        if traced:
            step = CompiledStep(
                player.loss, player.parameters, optimizer, example=(all_states[:6],), compiler=interpreted
            )
        torch.manual_seed(1)
        for n in (6, 9, 4):
            step(all_states[torch.randint(16, (n,))])
        results.append({k: v.clone() for k, v in player.loss.state_dict().items()})
        assert not traced or step.traces == 1
    for name, eager in results[0].items():
        torch.testing.assert_close(results[1][name], eager, atol=1e-10, rtol=0, msg=name)


def test_pcd_reaches_the_moments_of_the_data():
    truth = random_ising(4, 0.4)
    x = truth.states().sample(4000)
    model = Ising(4, chains=2000)
    fit(model, x.float(), steps=300, lr=0.05, batch_size=4000, progress=False, seed=0)
    s = states(4, -1.0)
    p = ising_log_mass(model.double()).detach().softmax(0)
    pairs = torch.triu_indices(4, 4, 1)
    found = (s.mT * p) @ s
    wanted = x.mT @ x / 4000
    error = (found - wanted)[pairs[0], pairs[1]].abs().max()
    assert float(error) < 5 / 2000**0.5  # the noise of 2,000 chains, before averaging over steps


def test_refusals():
    for options in ({"steps": 0}, {"steps": True}, {"weight_decay": -1.0}):
        with pytest.raises(ArgumentError, match="got"):
            GibbsContrastiveDivergence(**options)
    with pytest.raises(NoDensityError, match="sweep"):
        GibbsContrastiveDivergence().players(PPCA(3, 1))
