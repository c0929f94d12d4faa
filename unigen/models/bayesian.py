"""A program whose parameters are random variables: θ ~ p(θ), x, z | θ ~ the program with parameters θ.

    p(x, θ) = Π_i p(x_i | θ) p(θ)

Notation: θ stands outside the plate ``data``, one value for all examples. Where the program knows its exact marginal
p(x | θ), its own latents are summed out, and θ is all that is latent.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import pyro
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.nn.utils.stateless import _reparametrize_module

from unigen.autoguide import AmortisedNormal
from unigen.distributions.moved import moved
from unigen.distributions.spread import spread
from unigen.errors import ArgumentError
from unigen.objectives.elbo import ELBO
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.structure import Structure


@contextmanager
def with_parameters(program: Program, values: Mapping[str, Tensor]) -> Iterator[None]:
    """Run a program under other values of some of its parameters, which stay as they are."""
    with _reparametrize_module(program, dict(values)):
        yield


class Bayesian(Program):
    """A program with priors over parameters, which move with it; see ``bayesian``.

    Args:
        program: p(x, z | θ); a copy of it is kept.
        priors: Prior by name of the parameter, or by pattern (``"decoder.*"``).
        objective: What ``fit`` maximises: the ELBO, under a mean field over θ unless ``infer`` is asked for draws.

    Raises:
        ArgumentError: A pattern names no parameter, or no parameter gets a prior.
        ShapeError: A prior does not fit its parameter.
    """

    def __init__(
        self, program: Program, priors: Mapping[str, TorchDistribution], *, objective: Objective = ELBO()
    ) -> None:
        super().__init__(tuple(program.event_shape), context=program.context_features, objective=objective)
        self.program = copy.deepcopy(program)
        self.priors: dict[str, TorchDistribution] = {}
        known = dict(self.program.named_parameters())
        for pattern, fn in priors.items():
            names = [name for name in known if fnmatchcase(name, pattern)]
            if not names:
                raise ArgumentError(
                    "a prior of no parameter",
                    program=program.name,
                    got=repr(pattern),
                    expected=f"some of {sorted(known)}",
                )
            for name in names:
                self.priors[name] = spread(fn, known[name], name, program.name)
        if not self.priors:
            raise ArgumentError(
                "no priors", program=program.name, expected=f"priors of some of {sorted(known)}"
            )
        for name in self.priors:
            known[name].requires_grad_(False)
        shared = Structure(self.structure.observed, self.structure.shared)
        self.posterior_of_parameters = AmortisedNormal(shared, program=self.name)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Bayesian:
        """Move the priors with the parameters: ``.to``, ``.double`` and ``.cuda`` come here."""
        super()._apply(fn, recurse)
        self.priors = {name: moved(prior, fn) for name, prior in self.priors.items()}
        return self

    def _draw_parameters(self) -> dict[str, Tensor]:
        return {name: pyro.sample(name, fn).to(self.dtype) for name, fn in self.priors.items()}

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Any:
        """Declare p(θ) and p(x | θ), or p(x, z | θ) where z does not sum out."""
        with with_parameters(self.program, self._draw_parameters()):
            if not self.program.has_marginal:
                return self.program.model(x, context, n)
            with self.plate(x, n):
                return pyro.sample("x", self.program.marginal(context), obs=x)

    def guide(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Any:
        """Declare q(θ), a mean field, and q(z | x, θ), the program's own guide."""
        values = {
            name: value.to(self.dtype) for name, value in self.posterior_of_parameters.sample_shared().items()
        }
        if not self.program.has_marginal and self.program.structure.latents:
            with with_parameters(self.program, values):
                self.program.guide(x, context, n)

    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Start the parameters that have no prior as the program itself would."""
        self.program.initialise(x, context)


def bayesian(program: Program, priors: Mapping[str, TorchDistribution]) -> Bayesian:
    """Return a program whose parameters are random variables with priors.

    Args:
        program: Any program; it is copied and stays as it is.
        priors: Prior by name of the parameter or by pattern (``"decoder.*"``, ``"*"``); a distribution of the
            parameter's shape, or one that is spread over it.

    Returns:
        A program p(x, θ), for ``ug.infer`` (draws of θ by any engine) or ``ug.fit`` (a mean field over θ).

    Raises:
        ArgumentError: A pattern names no parameter.
        ShapeError: A prior does not fit its parameter.

    Example:
        >>> import pyro.distributions as dist, unigen as ug
        >>> ppca = ug.PPCA(features=3, latents=1)
        >>> [site.name for site in bayesian(ppca, {"weight": dist.Normal(0.0, 1.0)}).structure.latents]
        ['weight']
    """
    return Bayesian(program, priors)
