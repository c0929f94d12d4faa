from __future__ import annotations

import pytest
import torch
from torch import nn

from unigen.errors import ArgumentError
from unigen.nn.noisy_classifier import NoisyClassifier


def test_classes_share_one():
    classifier, z, t = NoisyClassifier(4, classes=3, hidden=8), torch.randn(5, 2, 2), torch.rand(5)
    each = torch.stack([classifier(z, t, torch.eye(3)[k].expand(5, 3)) for k in range(3)], 1)
    torch.testing.assert_close(each.exp().sum(1), torch.ones(5))
    torch.testing.assert_close(each, classifier.logits(z, t).log_softmax(-1))
    assert classifier.context_features == 3


def test_a_network_of_ones_own_sees_the_example_as_it_is():
    class Mean(nn.Module):
        def forward(self, z, t):
            return torch.stack((z.mean((1, 2)), t), 1)

    classifier = NoisyClassifier(4, classes=2, network=Mean())
    z, t = torch.randn(5, 2, 2), torch.rand(5)
    torch.testing.assert_close(classifier.logits(z, t), torch.stack((z.mean((1, 2)), t), 1))


def test_sizes_are_checked():
    for features, classes in ((0, 2), (2, 1)):
        with pytest.raises(ArgumentError, match="classes"):
            NoisyClassifier(features, classes)
