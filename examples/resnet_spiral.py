"""A residual network on three spiral arms: what skips do to gradients, and why such a network is Euler's method.

Left: the regions that 30 residual blocks learn, about as often right as Bayes' rule, which knows the densities. Middle:
the gradient that reaches each layer before training. A plain stack (wrong here) loses a factor √3 a layer, so that
nothing arrives at the first one; with skips it does. Right: blocks x + h f(x) follow the solution of dx/dt = f(x) with
an error of order h: half the step, half the error.
"""

from __future__ import annotations

import argparse
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import unigen as ug
from unigen.data.toy import Toy, pinwheel
from unigen.plots.style import COLOURS, GREY, figure, style


def run(net: nn.Sequential, x: Tensor, skip: bool) -> tuple[Tensor, list[Tensor]]:
    h = [net[0](x)]
    for layer in net[1:-1]:
        h.append(h[-1] + 0.1 * torch.tanh(layer(h[-1])) if skip else torch.tanh(layer(h[-1])))
    return net[-1](h[-1]), h


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=800)
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    toy, norms = pinwheel(3, sd=(0.7, 0.2), twist=1.2), {}
    (x, y), (held, truth) = toy.sample_labelled(3000), toy.sample_labelled(4000)
    arms = [Toy("arm", toy.means[k : k + 1], toy.scale_tril[k : k + 1], twist=toy.twist) for k in range(3)]
    bayes = (torch.stack([arm.log_prob(held) for arm in arms]).argmax(0) == truth).double()
    for name, skip, lost in (("plain: wrong", False, 3**0.5), ("residual", True, 1.0)):
        net = nn.Sequential(nn.Linear(2, 32), *(nn.Linear(32, 32) for _ in range(30)), nn.Linear(32, 3))
        out, h = run(net, x, skip)
        norms[name] = torch.stack([g.norm() for g in torch.autograd.grad(F.cross_entropy(out, y), h)])
        optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
        schedule = ug.Cosine(20)(optimizer, steps)
        for rows in torch.randint(len(x), (steps, 128)):
            optimizer.zero_grad()
            F.cross_entropy(run(net, x[rows], skip)[0], y[rows]).backward()
            optimizer.step()
            schedule.step()
        right = (run(net, held, skip)[0].argmax(1) == truth).double()
        error, ratio = (right - bayes).std() / 4000**0.5, norms[name].log().diff().exp()
        spread = ratio.std() / 30**0.5
        print(f"accuracy, {name:28s} {right.mean():8.4f} ± {error:.4f}   expected {bayes.mean():.4f}, Bayes")
        print(f"gradient lost a layer, {name:15s} {ratio.mean():8.4f} ± {spread:.4f}   expected {lost:.4f}")
    blocks, law = torch.tensor([25, 50, 100, 200, 400]), ug.relation(32)
    errors = [law.check(blocks=n, draws=9).details["error_of_the_blocks"][n] for n in blocks.tolist()]
    print(f"order of the error in the step {math.log2(errors[3] / errors[4]):16.4f}            expected 1")

    line = torch.linspace(-4.5, 4.5, 200)
    found = run(net, torch.cartesian_prod(line, line), True)[0].argmax(1).reshape(200, 200).T
    with style():
        a, b, c = (fig := figure(9.8, 3.4)).subplots(1, 3)
        a.contour(line, line, found, levels=(0.5, 1.5), colors=GREY, linewidths=0.8)
        for k in range(3):
            a.plot(*held[truth == k][:300].T, ".", ms=2, color=COLOURS[k], label=f"arm {k + 1}")
        b.semilogy(torch.stack(list(norms.values())).T, label=list(norms))
        c.loglog(3 / blocks, errors, "o-", ms=4, label="residual blocks")
        c.loglog(3 / blocks, errors[4] * 400 / blocks, ":", color=GREY, label="order 1")
        a.set(xlabel="$x_1$", ylabel="$x_2$", title="30 residual blocks")
        b.set(xlabel="layer", ylabel="‖∂ loss / ∂h‖", title="gradient before training")
        c.set(xlabel="step h", ylabel="‖x − x(3)‖", title="blocks: Euler's method")
        for axes in (a, b, c):
            axes.legend()
        fig.savefig("resnet_spiral.png", dpi=110)


if __name__ == "__main__":
    main()
