from __future__ import annotations

import torch

from tests.critics import exact_critic, program
from unigen.samplers.critic_weights import check_critic, propose


def test_proposals_are_draws_of_the_program_with_the_ratio_at_each() -> None:
    critic = exact_critic()
    assert check_critic("Rejection", critic) is critic
    x, log_ratio = propose(program(), critic, 100_000, None)
    p, q = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(0.5, 1.5)
    torch.testing.assert_close(log_ratio, (p.log_prob(x) - q.log_prob(x)).squeeze(1), atol=1e-4, rtol=0)
    w = log_ratio.exp()
    assert abs(float(w.mean()) - 1) < 5 * float(w.std()) / 100_000**0.5  # E_q p/q = 1
