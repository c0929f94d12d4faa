from __future__ import annotations

import pytest
import torch

from unigen.densities.no_density import NoDensity, no_density
from unigen.errors import NoDensityError
from unigen.models.gan import GAN


def test_every_question_is_refused_with_what_to_ask_instead() -> None:
    with pytest.raises(NoDensityError, match="two-sample metric"):
        _ = NoDensity().kind
    with pytest.raises(NoDensityError, match=r"GAN, site 'x': draws only.*critic.log_ratio"):
        NoDensity().log_prob(GAN(2, 2), torch.zeros(3, 2))
    assert "Mine" in str(no_density("Mine"))
