"""The denoiser behind any program whose path to noise is Gaussian: its own, or that of its velocity.

The velocity of an interpolant is affine in E[u | z_t] and in E[eps | z_t] (`interpolant_flow.py`), so that a flow
trained by flow matching is a denoiser too, along the same path.
"""

from __future__ import annotations

import torch
from torch import nn

from unigen.dynamics.denoiser import Denoiser
from unigen.dynamics.guidance import share_units
from unigen.dynamics.interpolant_flow import InterpolantFlow
from unigen.errors import ArgumentError

START = 1e-3  # where a path without noise at its start is entered: the score is infinite before


@torch.no_grad()
def _start(flow: InterpolantFlow) -> float:
    return flow.start if float(flow.interpolant.sigma(flow.start)) > 0.0 else START


def denoiser_behind(program: nn.Module) -> Denoiser:
    """Return a program's denoiser, or the one that shares the network of its flow.

    Args:
        program: A diffusion, or a program trained by flow matching with normal, independent noise.

    Raises:
        ArgumentError: It has neither.
        UnsupportedQueryError: The noise of its flow is not normal, or not independent of the data.

    Example:
        >>> from unigen.models.flow_matching import FlowMatching
        >>> denoiser = denoiser_behind(FlowMatching(2, hidden=8, blocks=1))
        >>> denoiser(torch.zeros(3, 2), torch.tensor(0.5))[0].shape
        torch.Size([3, 2])
    """
    denoiser, flow = getattr(program, "denoiser", None), getattr(program, "flow", None)
    if isinstance(denoiser, Denoiser):
        return denoiser
    if not isinstance(flow, InterpolantFlow):
        raise ArgumentError(
            "guidance changes the score of noisy data, which this program has not",
            program=type(program).__name__, expected="a diffusion or a flow along an interpolant",
            hint="ug.Diffusion or ug.FlowMatching; ug.AnnealedSMC conditions any program with a density",
        )  # fmt: skip
    flow.check_gaussian()
    shape = tuple(flow.loc.shape)
    view = Denoiser(flow.network, flow.interpolant.as_schedule(), flow.prediction, shape, _start(flow))
    share_units(view, flow)
    return view
