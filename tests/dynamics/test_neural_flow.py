from __future__ import annotations

import torch

from unigen.dynamics.divergence import ExactDivergence, Hutchinson
from unigen.dynamics.fixed_steps import FixedSteps
from unigen.dynamics.neural_flow import EXACT_UP_TO, NeuralFlow
from unigen.nn.drift import DriftMLP


def test_the_divergence_of_training_depends_on_the_dimensions():
    few, many = (
        NeuralFlow(nn, (d,), FixedSteps(2)) for d, nn in ((EXACT_UP_TO, None), (EXACT_UP_TO + 1, None))
    )
    assert isinstance(few.divergence, ExactDivergence)
    assert isinstance(many.divergence, Hutchinson)
    assert many.divergence.probes == 1


def test_what_is_carried_has_gradients_for_every_parameter():
    flow = NeuralFlow(DriftMLP(2, (8,), context=1), (2,), FixedSteps(2))
    flow.carry(torch.randn(5, 2), torch.randn(5, 1)).log_prob.sum().backward()
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in flow.parameters())
    assert flow.evaluations.forward == 8
