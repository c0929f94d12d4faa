"""Discriminator-driven latent sampling: Langevin dynamics of z on the energy that critic and prior give it.

    E(z) = −log p(z) − l(G(z)),     l = log p/q of data to program,     x = G(z)

If l is the log density ratio, z ~ exp(−E) makes G(z) a draw of the data's distribution, as far as that lies in the
range of G.
"""

from __future__ import annotations

import functools
from typing import final

import torch
from torch import Tensor
from torch.distributions import constraints

from unigen.distributions.implicit import Implicit
from unigen.dynamics.langevin import check_langevin, langevin, metropolis_langevin
from unigen.errors import UnsupportedQueryError
from unigen.nn.critic import Critic
from unigen.program import Program
from unigen.samplers.critic_weights import check_critic
from unigen.samplers.sampler import Sampler
from unigen.traces import Node, draw


@final
class LatentLangevin(Sampler):
    """Run a chain in the latent space for each draw, from the prior towards what the critic takes for data.

    Args:
        critic: A ``Critic`` after a game that determines p/q.
        steps: Steps of each chain.
        step_size: h, in squared units of z.
        adjusted: Accept or reject each step (MALA), which removes the bias of a finite h.

    Raises:
        ArgumentError: A setting out of its range, or no critic.
        UnsupportedQueryError: The critic determines no ratio.

    References:
        Che et al., Your GAN is secretly an energy-based model, 2020.

    Example:
        >>> from unigen.models.gan import GAN
        >>> critic = Critic(2).read_as("log ratio")
        >>> GAN(2, 2).sample(5, sampler=LatentLangevin(critic, steps=3)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self, critic: Critic, steps: int = 200, step_size: float = 0.05, *, adjusted: bool = True
    ) -> None:
        check_langevin(steps, step_size, 1.0)
        self.critic = check_critic("LatentLangevin", critic)
        self.steps, self.step_size, self.adjusted = steps, step_size, adjusted

    def draw(self, program: Program, n: int, context: Tensor | None = None) -> Tensor:
        """Return the images of the ends of n chains, shape (n, *event_shape).

        Raises:
            UnsupportedQueryError: x is not a function of one continuous latent, or the latent's density is unknown.
        """
        with torch.no_grad():
            nodes = draw(functools.partial(program.model, None, context, n))
        name = self._latent(program, nodes)

        def run(z: Tensor) -> dict[str, Node]:
            return draw(functools.partial(program.model, None, context, n), {name: z})

        def energy(z: Tensor) -> Tensor:
            sites = run(z)
            x = sites[program.observed]["value"]
            return -sites[name]["fn"].log_prob(z).reshape(n) - self.critic.log_ratio(x, context)

        options = {"steps": self.steps, "step_size": self.step_size}
        z = nodes[name]["value"].expand(n, *nodes[name]["fn"].event_shape)
        z = metropolis_langevin(energy, z, **options)[0] if self.adjusted else langevin(energy, z, **options)
        with torch.no_grad():
            return run(z)[program.observed]["value"]

    def _latent(self, program: Program, nodes: dict[str, Node]) -> str:
        """Return the name of the latent that x is a function of, or refuse the program."""
        latents = program.structure.latents
        if (
            len(latents) != 1
            or not latents[0].local
            or not isinstance(nodes[program.observed]["fn"], Implicit)
        ):
            raise UnsupportedQueryError(
                "x must be a function of one latent, with no noise of its own",
                program=program.name,
                hint="Rejection(critic) or ImportanceResampling(critic), which take any program",
            )
        site, support = latents[0], latents[0].support
        while isinstance(support, constraints.independent):
            support = support.base_constraint
        if site.kind is None or support is not constraints.real:
            raise UnsupportedQueryError(
                "Langevin dynamics needs the density of a latent in Euclidean space",
                program=program.name, site=site.name, got="no density" if site.kind is None else f"support {support}",
                hint="a prior with a density on the reals",
            )  # fmt: skip
        return site.name
