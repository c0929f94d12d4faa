"""Program: p(x, z | c) as a Pyro model and guide, and the queries that every family answers.

Notation: x observed (event shape ``event_shape``), z latent, c the context of a conditional model (N, C),
N the size of a batch. Sites are named ``x`` and ``z`` and stand inside the plate ``data``.
"""

from __future__ import annotations

import functools
import itertools
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import pyro
import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions.constraints import Constraint

from unigen import queries
from unigen.autoguide import AmortisedNormal
from unigen.checks import check_context, check_data
from unigen.distributions.program import ProgramDistribution
from unigen.distributions.standard import labelled
from unigen.errors import ArgumentError, NoDensityError, ShapeError
from unigen.formula import describe
from unigen.logprob import Kind, LogProb
from unigen.module import ProgramModule
from unigen.recipe import Recipe
from unigen.structure import Structure, check_guide, discover, follow
from unigen.traces import DATA, tracing

if TYPE_CHECKING:
    from unigen.densities.density import Density
    from unigen.objectives.objective import Objective
    from unigen.samplers.sampler import Sampler


class Program(ProgramModule):
    """A generative model p(x, z | c): subclass it, write ``model`` and, where z needs one, ``guide``.

    ``model(x, context, n)`` declares its sites inside ``with self.plate(x, n):`` and passes ``obs=x`` at the
    site ``x``; it may declare fewer arguments. Without a guide the program gets an amortised mean-field one.
    Both run unchanged under Pyro's ``SVI``, ``Predictive``, ``NUTS`` and every ``poutine`` handler.

    Args:
        event_shape: Shape of one example; found by running the model once if omitted.
        context: Number C of context features; 0 for an unconditional model.
        objective: What ``fit`` minimises by default (an ELBO if omitted).
        sampler: How ``sample`` draws by default (ancestrally if omitted).
        density: How ``log_prob`` is computed by default (exactly without latents, else an
            importance-weighted bound).

    Raises:
        SiteError: Model and guide disagree, or ``x`` stands outside the plate.

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> class Coin(Program):
        ...     def model(self, x=None, n=1):
        ...         with self.plate(x, n):
        ...             z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
        ...             return pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)
        >>> print(Coin().formula)
        p(x, z) = p(x | z) p(z);  q(z | x)
    """

    observed: ClassVar[str] = "x"
    recipe: ClassVar[Recipe] = Recipe()
    missing: bool | None = None  # whether NaN marks a missing entry; None: the family has no such option
    has_posterior: ClassVar[bool] = True  # False: draws only, with no way back from x to z
    posterior_label: str | None = None  # name of the program that is the guide, if one is; for the formula
    fitted: bool
    data_size: int | None

    def __init__(
        self,
        event_shape: tuple[int, ...] | None = None,
        *,
        context: int = 0,
        objective: Objective | None = None,
        sampler: Sampler | None = None,
        density: Density | None = None,
    ) -> None:
        if context < 0:
            raise ArgumentError(program=type(self).__name__, site="context", got=context, expected="≥ 0")
        super().__init__()
        self.__dict__["_event_shape"] = None if event_shape is None else torch.Size(event_shape)
        self.context_features = context
        self.objective, self.sampler, self.density = objective, sampler, density
        self.data_size = None
        self.fitted = False

    # -- declared by families ------------------------------------------------------------------------------

    @abstractmethod
    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Any:
        """Declare p(x, z | c) as Pyro sample statements."""

    def guide(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Any:
        """Declare q(z | x, c); by default an amortised mean field."""
        self._register()
        if self.automatic_guide is not None:
            self.automatic_guide.sample_sites(self, x, context, n)

    def marginal(self, context: Tensor | None = None) -> TorchDistribution:
        """Return the exact marginal p(x | c), batch shape () or (N,), where the family knows it.

        Raises:
            NoDensityError: The family does not.
        """
        raise NoDensityError("no marginal in closed form", program=self.name, hint="log_prob gives a bound")

    @property
    def has_own_guide(self) -> bool:
        """Whether the program declares a guide, so that it needs no automatic one."""
        return type(self).guide is not Program.guide

    @property
    def has_marginal(self) -> bool:
        """Whether ``marginal`` is known in closed form."""
        return type(self).marginal is not Program.marginal

    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Set starting values from the data; ``fit`` calls it once, before the first fit of a program."""

    def surrogate(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return (N,) values whose gradients train this program when it stands as a part of another."""
        return queries.surrogate(self, x, context)

    # -- structure --------------------------------------------------------------------------------------

    def _complete(self) -> None:
        """Find the structure of a program without a guide of its own, and give it an automatic one."""
        if "automatic_guide" in self._modules or self.has_own_guide:
            return
        structure = self.structure
        guide = AmortisedNormal(structure, context=self.context_features, program=self.name)
        self.automatic_guide = guide if structure.latents else None

    @property
    def name(self) -> str:
        """Name of the family, as it stands in messages and formulas."""
        return type(self).__name__

    @property
    def device(self) -> torch.device:
        """Device of the first parameter or buffer."""
        first = next(itertools.chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if first is None else first.device

    @property
    def dtype(self) -> torch.dtype:
        """Floating dtype of the first real parameter or buffer."""
        tensors = itertools.chain(self.parameters(), self.buffers())
        return next((t.dtype for t in tensors if t.is_floating_point()), torch.get_default_dtype())

    def _dummy_context(self, n: int) -> Tensor | None:
        c = self.context_features
        return torch.ones(n, c, dtype=self.dtype, device=self.device) if c else None

    @property
    def structure(self) -> Structure:
        """Sites, shapes and dependencies, found by running the model once."""
        if self.__dict__.get("_structure") is None:
            context = self._dummy_context(2)
            run = functools.partial(self.model, None, context, 2)
            tracked = None if context is None else functools.partial(self.model, None, follow(context), 2)
            structure = discover(run, self.observed, self.name, tracked, self.dtype)
            found, declared = structure.observed.event_shape, self.__dict__["_event_shape"]
            if declared is not None and found != declared:
                raise ShapeError(
                    "the model's site has another event shape than the program declares",
                    program=self.name,
                    site=self.observed,
                    got=tuple(found),
                    expected=tuple(declared),
                    hint="super().__init__((features,)), and .to_event(1) at the site",
                )
            self.__dict__["_structure"] = structure
            if self.__dict__["_event_shape"] is None:
                self.__dict__["_event_shape"] = structure.observed.event_shape
        return self.__dict__["_structure"]

    @property
    def event_shape(self) -> torch.Size:
        """Shape of one example."""
        declared = self.__dict__["_event_shape"]
        return self.structure.observed.event_shape if declared is None else declared

    @property
    def support(self) -> Constraint:
        """Set on which the density of one example lives."""
        return self.structure.observed.support

    @property
    def latent(self) -> str:
        """Name of the latent site, ``z`` by convention; the first one if there are several."""
        return queries.first_latent(self).name

    @contextmanager
    def plate(self, x: Tensor | None = None, n: int = 1) -> Iterator[None]:
        """Enter the plate ``data`` over the rows of x, or over n draws.

        Under Pyro's own inference a minibatch is scaled to ``data_size`` examples, when that is set.
        """
        size = n if x is None else x.shape[0]
        scale = 1.0 if self.data_size is None or tracing() else self.data_size / size
        with pyro.plate(DATA, size, dim=-1), poutine.scale(scale=scale):
            yield

    def check(self) -> None:
        """Check that model and guide agree.

        Raises:
            SiteError: They do not.
        """
        if self.structure.latents and self.has_posterior:
            x = queries.placeholder(self, 2)
            run = functools.partial(self.guide, x, self._dummy_context(2), 2)
            check_guide(self.structure, run, self.name)

    def check_batch(self, x: object, context: object = None) -> tuple[Tensor, Tensor | None]:
        """Return (x, context) as valid tensors of the program's dtype and device, or raise a typed error."""
        rows = check_data(
            x, self.event_shape, self.support, self.dtype, self.name, self.observed, self.missing is False
        )
        c = check_context(context, self.context_features, rows.shape[0], self.dtype, self.name)
        return rows.to(self.device), None if c is None else c.to(self.device)

    # -- queries -------------------------------------------------------------------------------------------

    @property
    def kind(self) -> Kind:
        """Kind of the number that ``log_prob`` gives by default."""
        return queries.kind_of_program(self)

    def density_of(self, x: Tensor, context: Tensor | None = None, density: Density | None = None) -> LogProb:
        """Return log p(x | c) of checked data, differentiably; ``log_prob`` is the checked query."""
        chosen = density or self.density
        if chosen is not None:
            return chosen.log_prob(self, x, context)
        return queries.default_log_prob(self, x, context)

    def draw(self, n: int, context: Tensor | None = None, sampler: Sampler | None = None) -> Tensor:
        """Return n draws for checked arguments; ``sample`` is the checked query."""
        chosen = sampler or self.sampler
        return queries.ancestral(self, n, context) if chosen is None else chosen.draw(self, n, context)

    def distribution(self, context: Tensor | None = None) -> TorchDistribution:
        """Return p(x | c) as a distribution with ``kind``, rebuilt per call: the exact marginal where known."""
        if self.has_marginal:
            return labelled(self.marginal(context), self.name)
        return ProgramDistribution(self, context)

    def impute(
        self, x: object, context: object = None, *, density: Density | None = None, seed: int | None = None
    ) -> Tensor:
        """Return x with each missing entry, marked by NaN, replaced by its expectation given the observed ones.

        It is exact where the family knows it, E[x_mis | x_obs]; by self-normalised importance sampling with
        ``density=Importance(samples)``, or where that is the program's own density; elsewhere that of ``reconstruct``.

        Raises:
            NonFiniteError: The program takes no missing entries.
        """
        rows, c = self.check_batch(x, context)
        weigh = getattr(density or self.density, "impute", None)
        with queries.evaluating(self), queries.seeded(seed, self.device), torch.no_grad():
            if weigh is not None:
                return weigh(self, rows, c)
            if self.has_marginal and hasattr(marginal := self.marginal(c), "impute"):
                return marginal.impute(rows)
            return torch.where(rows.isnan(), self.reconstruct(rows, c), rows)

    sample = queries.sample
    log_prob = queries.log_prob
    posterior = queries.posterior
    encode = queries.encode
    decode = queries.decode
    reconstruct = queries.reconstruct
    score = queries.score
    energy = queries.energy

    @property
    def formula(self) -> str:
        """The factorisation, e.g. ``p(x, z) = p(x | z) p(z);  q(z | x)``."""
        conditional, label = self.context_features > 0, self.posterior_label
        return describe(self.structure, conditional, self.has_posterior, label)

    def __repr__(self) -> str:
        """Return the formula, the shapes of the sites, and the number of parameters."""
        sites = [self.structure.observed, *self.structure.latents]
        shapes = "  ".join(f"{s.name}: {tuple(s.event_shape)}" for s in sites[:6])
        count = sum(p.numel() for p in self.parameters())
        return f"{self.name}: {self.formula}\n  {shapes}  parameters: {count:,}"
