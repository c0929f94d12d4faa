"""Training steps and draws of flows: unigen beside zuko, nflows and normflows.

    python -m benchmarks.flows --json

RealNVP, a coupling NSF (8 bins) and MAF, 5 transforms with networks of two hidden layers of 128, at D = 16 and 64,
batches of 256, one thread. A training step is loss, gradient and Adam. unigen's steps include what the others lack:
a learned standardisation of the data, networks that see clipped inputs, the gradient norm, and a guard that leaves
everything in place when loss or gradient is not finite. nflows and normflows build their splines on residual
networks of about the same size; normflows' masked flow runs the other way round, an IAF: draws in one pass, densities
in D. "draws" are 256 samples; those of MAF and the autoregressive NSF are also taken at
D = 8, 64 and 256, one transform, where zuko makes D full passes of the network and unigen computes every hidden
unit once.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import unigen.distributions.zuko_adapter  # noqa: F401  (keeps torch's argument checks as they are)
from benchmarks.ratios import Ratio, Work, measure, options, report
from unigen.densities.flow import FlowProgram
from unigen.inference.step import make_step
from unigen.models.flow import MAF, NSF, RealNVP
from unigen.objectives.likelihood import MaximumLikelihood

BATCH, TRANSFORMS, HIDDEN, BINS = 256, 5, (128, 128), 8
FAMILIES = ("RealNVP", "NSF", "MAF")


def ours(family: str, d: int) -> FlowProgram:
    """unigen's flow."""
    if family == "RealNVP":
        return RealNVP(d, transforms=TRANSFORMS, hidden=HIDDEN)
    if family == "NSF":
        return NSF(d, transforms=TRANSFORMS, hidden=HIDDEN, bins=BINS)
    return MAF(d, transforms=TRANSFORMS, hidden=HIDDEN)


def of_zuko(family: str, d: int) -> Any:
    """zuko's flow, called for its distribution."""
    import zuko

    common = {"transforms": TRANSFORMS, "hidden_features": HIDDEN}
    if family == "NSF":
        shapes = [(BINS,), (BINS,), (BINS - 1,)]
        return zuko.flows.NICE(d, univariate=zuko.transforms.MonotonicRQSTransform, shapes=shapes, **common)
    return {"RealNVP": zuko.flows.RealNVP, "MAF": zuko.flows.MAF}[family](d, **common)


class WithoutContext(nn.Module):
    """A network that nflows hands a context to, and that takes none."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Apply the network."""
        return self.net(x)


def of_nflows(family: str, d: int) -> Any:
    """nflows' flow."""
    from nflows import transforms as nt
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow
    from nflows.nn.nets import MLP, ResidualNet

    steps = []
    for t in range(TRANSFORMS):
        mask = torch.arange(d) % 2 == t % 2
        if family == "RealNVP":
            steps.append(
                nt.AffineCouplingTransform(mask, lambda a, b: WithoutContext(MLP([a], [b], list(HIDDEN))))
            )
        elif family == "NSF":
            steps.append(
                nt.PiecewiseRationalQuadraticCouplingTransform(
                    mask,
                    partial(ResidualNet, hidden_features=HIDDEN[0], num_blocks=1),
                    num_bins=BINS,
                    tails="linear",
                    tail_bound=5.0,
                )
            )
        else:
            steps += [
                nt.MaskedAffineAutoregressiveTransform(d, HIDDEN[0], num_blocks=1, use_residual_blocks=False),
                nt.ReversePermutation(d),
            ]
    return Flow(nt.CompositeTransform(steps), StandardNormal([d]))


def of_normflows(family: str, d: int) -> Any:
    """normflows' flow."""
    import normflows as nf

    steps: list[nn.Module] = []
    for _ in range(TRANSFORMS):
        if family == "RealNVP":
            net = nf.nets.MLP([d // 2, *HIDDEN, d])
            steps += [nf.flows.AffineCouplingBlock(net), nf.flows.Permute(d, mode="swap")]
        elif family == "NSF":
            steps.append(
                nf.flows.CoupledRationalQuadraticSpline(d, 1, HIDDEN[0], num_bins=BINS, tail_bound=5.0)
            )
        else:
            steps.append(nf.flows.MaskedAffineAutoregressive(d, HIDDEN[0], num_blocks=1))
    return nf.NormalizingFlow(nf.distributions.DiagGaussian(d, trainable=False), steps)


def train(net: nn.Module, loss_of: Callable[[Tensor], Tensor], x: Tensor) -> Work:
    """The loop by hand."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(x)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def train_unigen(program: FlowProgram, x: Tensor, compiled: bool) -> Work:
    """unigen's step of the program's own objective."""
    player = MaximumLikelihood().players(program)[0]
    optimizer = torch.optim.Adam(player.parameters.values(), lr=1e-4)

    def refuse(message: str) -> None:
        raise RuntimeError(message)

    step = make_step(
        player.loss, player.parameters, optimizer, compile=compiled, example=(x, None), say=refuse
    )
    return lambda: step(x, None)


def training(family: str, d: int, rounds: int) -> dict[str, Ratio]:
    """Measure one training step."""
    x = torch.randn(BATCH, d)
    zuko, nflows, normflows = of_zuko(family, d), of_nflows(family, d), of_normflows(family, d)
    contenders = {
        "zuko": train(zuko, lambda x: -zuko().log_prob(x).mean(), x),
        "nflows": train(nflows, lambda x: -nflows.log_prob(x).mean(), x),
        "normflows": train(normflows, normflows.forward_kld, x),
        "unigen, eager": train_unigen(ours(family, d), x, compiled=False),
        "unigen, compiled": train_unigen(ours(family, d), x, compiled=True),
    }
    bounds = {"unigen, eager": 1.1, "unigen, compiled": 1.0}
    return measure(contenders, baseline="zuko", rounds=rounds, calls=4, bounds=bounds)


def without_gradients(work: Work) -> Work:
    """The same without gradients."""
    return torch.no_grad()(work)


def drawing(family: str, d: int, rounds: int) -> dict[str, Ratio]:
    """Measure 256 draws."""
    program, zuko = ours(family, d), of_zuko(family, d)
    nflows, normflows = of_nflows(family, d).eval(), of_normflows(family, d).eval()
    contenders = {
        "zuko": lambda: zuko().sample((BATCH,)),
        "nflows": lambda: nflows.sample(BATCH),
        "normflows": lambda: normflows.sample(BATCH),
        "unigen": lambda: program.marginal().sample((BATCH,)),
    }
    work = {name: without_gradients(each) for name, each in contenders.items()}
    bound = 1.0 if family == "MAF" else 1.1
    return measure(work, baseline="zuko", rounds=rounds, calls=2, bounds={"unigen": bound}, warm_up=2)


def sequential(spline: bool, d: int, rounds: int) -> dict[str, Ratio]:
    """Measure 256 draws of one autoregression, hidden layers of max(64, 2D)."""
    import zuko

    hidden = (max(64, 2 * d),) * 2
    theirs = (zuko.flows.NSF if spline else zuko.flows.MAF)(d, transforms=1, hidden_features=hidden)
    program = (
        NSF(d, transforms=1, hidden=hidden, autoregressive=True)
        if spline
        else MAF(d, transforms=1, hidden=hidden)
    )
    contenders = {
        "zuko, D passes": without_gradients(lambda: theirs().sample((BATCH,))),
        "unigen, each unit once": without_gradients(lambda: program.marginal().sample((BATCH,))),
    }
    bounds = {"unigen, each unit once": 1.0}
    return measure(contenders, baseline="zuko, D passes", rounds=rounds, calls=1, bounds=bounds, warm_up=1)


def main() -> int:
    """Measure all cases."""
    chosen = options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    logging.getLogger("torch").setLevel(logging.ERROR)
    rounds = 7 if chosen.quick else 31
    cases: dict[str, dict[str, Ratio]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for d in (16, 64):
            for family in FAMILIES:
                cases[f"{family}, D = {d}, training step"] = training(family, d, rounds)
                cases[f"{family}, D = {d}, draws"] = drawing(family, d, max(3, rounds // 4))
        for d in (8, 64, 256):
            for spline in (False, True):
                name = "autoregressive NSF" if spline else "MAF"
                few = 3 if d == 256 else max(3, rounds // 4)
                cases[f"{name}, one transform, D = {d}, draws"] = sequential(spline, d, few)
    return report("flows", cases, chosen.json)


if __name__ == "__main__":
    raise SystemExit(main())
