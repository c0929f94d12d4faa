"""Interpolation in noise space: two data carried to noise by the ODE, the arc between them carried back."""

from __future__ import annotations

import torch
from torch import Tensor

from unigen.errors import ArgumentError, ShapeError
from unigen.program import Program
from unigen.samplers.noise_space import ODE, from_noise, to_noise
from unigen.samplers.probability_flow import ProbabilityFlowODE


def slerp(a: Tensor, b: Tensor, fractions: Tensor) -> Tensor:
    """Return points on the great circle from a to b; on the chord where they are almost parallel or opposite.

    z(s) = [sin((1 − s) θ) a + sin(s θ) b] / sin θ,     cos θ = a·b / (‖a‖ ‖b‖)

    Draws of N(0, I) in D dimensions lie near the sphere of radius √D; so does the arc, and the chord does not.

    Args:
        a: Shape (N, *event).
        b: Shape (N, *event).
        fractions: s, (K,).

    Returns:
        Shape (K, N, *event).

    References:
        Shoemake 1985, Animating rotation with quaternion curves; White 2016, Sampling generative networks.

    Example:
        >>> slerp(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([0.5])).round(decimals=4)
        tensor([[[0.7071, 0.7071]]])
    """
    one, two = a.flatten(1), b.flatten(1)
    cosine = (one * two).sum(1) / (one.norm(dim=1) * two.norm(dim=1)).clamp_min(1e-30)
    angle = torch.acos(cosine.clamp(-1.0, 1.0))[:, None]
    s, sine = fractions.reshape(-1, 1, 1).to(a), torch.sin(angle)
    straight = sine < 1e-4
    safe = torch.where(straight, torch.ones_like(sine), sine)
    first = torch.where(straight, 1.0 - s, torch.sin((1.0 - s) * angle) / safe)
    second = torch.where(straight, s.expand_as(first), torch.sin(s * angle) / safe)
    return (first * one + second * two).reshape(fractions.shape[0], *a.shape)


@torch.no_grad()
def interpolate(
    program: Program,
    a: object,
    b: object,
    steps: int = 9,
    context: object = None,
    *,
    ode: ProbabilityFlowODE = ODE,
) -> Tensor:
    """Return data between pairs of data, along the arc between their noises.

    x(s) = decode(slerp(encode(a), encode(b), s)),     s = 0, 1/(K − 1), …, 1

    Args:
        program: A program with a flow: `Diffusion`, `DDPM`, `CNF`, `FlowMatching`.
        a: Data, (N, *event).
        b: Data, (N, *event).
        steps: K, with both ends.
        context: Context, (N, C) or (1, C), the same all the way.
        ode: How the flow is solved.

    Returns:
        Shape (K, N, *event); the ends are a and b up to the solver's tolerance.

    Raises:
        ArgumentError: steps < 2, or the program has no flow.
        ShapeError: a and b have different shapes.

    References:
        Song et al. 2021, Score-based generative modeling through SDEs, appendix D.4; Song, Meng & Ermon 2021, DDIM.

    Example:
        >>> import unigen as ug
        >>> interpolate(ug.Diffusion(2, hidden=8, blocks=1), torch.zeros(3, 2), torch.ones(3, 2), steps=5).shape
        torch.Size([5, 3, 2])
    """
    if steps < 2:
        raise ArgumentError(
            program=program.name, site="steps", got=steps, expected="at least 2, the two ends"
        )
    first, c = program.check_batch(a, context)
    second, _ = program.check_batch(b, context)
    if first.shape != second.shape:
        raise ShapeError(program=program.name, site="b", got=tuple(second.shape), expected=tuple(first.shape))
    fractions = torch.linspace(0.0, 1.0, steps, dtype=first.dtype, device=first.device)
    path = slerp(to_noise(program, first, context, ode), to_noise(program, second, context, ode), fractions)
    rows = None if c is None else c.expand(first.shape[0], -1).repeat(steps, 1)
    return from_noise(program, path.flatten(0, 1), rows, ode).reshape(path.shape)
