"""The questions that every program answers, derived from its model and guide alone.

A family overrides none of these; it supplies a density, a sampler or a marginal where it knows a better way.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from unigen.checks import check_context, check_data, check_part
from unigen.errors import ArgumentError, NoDensityError, UnsupportedQueryError
from unigen.logprob import Kind, LogProb
from unigen.structure import Site
from unigen.traces import draw, log_weights

if TYPE_CHECKING:
    from unigen.densities.density import Density
    from unigen.program import Program
    from unigen.samplers.sampler import Sampler

PARTICLES = 64  # of the default importance-weighted bound
CHUNK = 1024  # examples scored at a time
Seed = int | None


@contextmanager
def evaluating(program: Program) -> Iterator[None]:
    """Switch dropout and batch normalisation to evaluation, and back."""
    modes = {module: module.training for module in program.modules()}
    program.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Draw from a stream of its own when a seed is given, leaving the global stream untouched."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def first_latent(program: Program) -> Site:
    """Return the site ``z``, or the first local latent.

    Raises:
        UnsupportedQueryError: The program has no latent variable.
    """
    local = [site for site in program.structure.latents if site.local]
    if not local:
        hint = "log_prob, sample and score work"
        raise UnsupportedQueryError("this family has no latent variable", program=program.name, hint=hint)
    return next((site for site in local if site.name == "z"), local[0])


def placeholder(program: Program, n: int) -> Tensor:
    """Return n valid examples without meaning, for structure checks."""
    value = 0.0 if program.structure.observed.discrete else 0.5
    return torch.full((n, *program.event_shape), value, dtype=program.dtype, device=program.device)


def ancestral(program: Program, n: int, context: Tensor | None) -> Tensor:
    """Return n draws of x by running the model forward."""
    nodes = draw(functools.partial(program.model, None, context, n))
    return nodes[program.observed]["value"]


def kind_of_program(program: Program) -> Kind:
    """Return the kind of the default ``log_prob``: the density's, or that of the bound and its parts."""
    if program.density is not None:
        return program.density.kind
    if program.has_marginal:
        return Kind.EXACT
    sites = (program.structure.observed, *program.structure.latents)
    for site in sites:
        if site.kind is None:
            message = "the draws of a part have no density"
            raise NoDensityError(message, program=program.name, site=site.name, hint="sample works")
    start = Kind.LOWER_BOUND if program.structure.latents else Kind.EXACT
    return functools.reduce(Kind.__add__, [site.kind for site in sites if site.kind is not None], start)


def importance_bound(program: Program, x: Tensor, context: Tensor | None, samples: int) -> LogProb:
    """Return log 1/K Σ_k w_k, a lower bound in expectation, with its Monte Carlo standard error.

    The error is that of the delta method, sd(w) / (√K mean w); with a single sample there is none.

    Raises:
        UnsupportedQueryError: A latent outside the plate couples the examples.
    """
    model = functools.partial(program.model, x, context, x.shape[0])
    guide = functools.partial(program.guide, x, context, x.shape[0]) if program.structure.latents else None
    k = samples if guide is not None else 1
    weights = log_weights(model, guide, samples=k, nesting=program.structure.nesting)
    if weights.shared_latents:
        message = (
            "a latent outside the plate couples all examples, so log p(x_i) has no meaning for each alone"
        )
        hint = (
            "objectives.iwae bounds the joint log p(x_1 … x_N); or condition on a draw of the shared latent"
        )
        raise UnsupportedQueryError(message, program=program.name, hint=hint)
    if weights.kind is Kind.LOWER_BOUND:
        return _averaged_bound(program, weights.local)
    value = torch.logsumexp(weights.local, 0) - math.log(k)
    dims = max(1, program.event_shape.numel())
    if guide is None:
        return LogProb(value, weights.kind, dims=dims)
    stderr = None
    if k > 1:
        w = torch.exp(weights.local.detach() - value.detach())
        stderr = w.std(0) / math.sqrt(k)
    return LogProb(value, Kind.LOWER_BOUND + weights.kind, stderr, dims)


def _averaged_bound(program: Program, local: Tensor) -> LogProb:
    """Return the mean of the K bounds: where a part gives a noisy bound, weighting by its exponential is no bound."""
    k = local.shape[0]
    stderr = local.detach().std(0) / math.sqrt(k) if k > 1 else None
    return LogProb(local.mean(0), Kind.LOWER_BOUND, stderr, max(1, program.event_shape.numel()))


def default_log_prob(program: Program, x: Tensor, context: Tensor | None) -> LogProb:
    """Return the exact log p(x) where a marginal or no latent makes it known, else the importance bound."""
    if program.has_marginal:
        value = program.marginal(context).log_prob(x)
        return LogProb(value, Kind.EXACT, dims=max(1, program.event_shape.numel()))
    return importance_bound(program, x, context, PARTICLES)


def surrogate(program: Program, x: Tensor, context: Tensor | None) -> Tensor:
    """Return the exact log p(x), or a one-sample ELBO with analytic KL, differentiably, shape (N,)."""
    if program.has_marginal:
        return program.marginal(context).log_prob(x)
    model = functools.partial(program.model, x, context, x.shape[0])
    guide = functools.partial(program.guide, x, context, x.shape[0]) if program.structure.latents else None
    weights = log_weights(model, guide, nesting=program.structure.nesting, analytic=True, surrogate=True)
    return weights.local[0] + weights.shared[0] / x.shape[0]


def sample(  # noqa: D417  (a method of Program)
    self: Program,
    n: int = 1,
    context: object = None,
    *,
    sampler: Sampler | None = None,
    seed: Seed = None,
) -> Tensor:
    """Return n draws of x.

    Args:
        n: Number of draws.
        context: Shape (n, C) or (1, C) for a conditional program.
        sampler: How to draw; the family's own way if omitted.
        seed: Reproduces the draws without touching the global random state.

    Returns:
        Draws, shape (n, *event_shape).

    Raises:
        ArgumentError: n is not a positive integer, or the sampler none.
        ContextError: The context is missing, superfluous or of the wrong shape.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ArgumentError(program=self.name, site="n", got=n, expected="a positive integer")
    c = check_context(context, self.context_features, n, self.dtype, self.name)
    check_part(sampler, "draw", "sampler", "sampler=ug.Ancestral()", self.name)
    c = None if c is None else c.to(self.device)
    with evaluating(self), seeded(seed, self.device), torch.no_grad():
        return self.draw(n, c, sampler).detach()


def log_prob(  # noqa: D417  (a method of Program)
    self: Program,
    x: object,
    context: object = None,
    *,
    density: Density | None = None,
    seed: Seed = None,
) -> LogProb:
    """Return log p(x | c) in nats, and what kind of number it is.

    Args:
        x: Data, shape (N, *event_shape).
        context: Shape (N, C) for a conditional program.
        density: How to compute it; the family's own way if omitted.
        seed: Reproduces a Monte Carlo value without touching the global random state.

    Returns:
        LogProb of N values; differentiable in x if x requires a gradient.

    Raises:
        ShapeError, DTypeError, NonFiniteError, SupportError, EmptyDataError, ContextError: Bad input.
        NoDensityError: The family has no density; the message says what to use instead.
    """
    check_part(density, "log_prob", "density", "density=ug.Importance(samples=64)", self.name)
    rows, c = self.check_batch(x, context)
    differentiable = isinstance(x, Tensor) and x.requires_grad
    with evaluating(self), seeded(seed, self.device), torch.set_grad_enabled(differentiable):
        chunks = [
            self.density_of(rows[i : i + CHUNK], None if c is None else c[i : i + CHUNK], density)
            for i in range(0, rows.shape[0], CHUNK)
        ]
    first = chunks[0]
    errors = [part.stderr for part in chunks if part.stderr is not None]
    values = torch.cat([part.value for part in chunks])
    return LogProb(values, first.kind, torch.cat(errors) if errors else None, first.dims)


def posterior(self: Program, x: object, context: object = None) -> TorchDistribution:
    """Return q(z | x, c), a distribution with batch shape (N,): exact where the family's guide is.

    Raises:
        UnsupportedQueryError: There is no latent, or no way back from x to it (an implicit model).
    """
    site = first_latent(self)
    rows, c = self.check_batch(x, context)
    nodes = {}
    if self.has_posterior:
        with evaluating(self):
            nodes = draw(functools.partial(self.guide, rows, c, rows.shape[0]))
    if site.name not in nodes:
        message, hint = "there is no way back from x to z", "a VAE or PPCA has one"
        raise UnsupportedQueryError(message, program=self.name, site=site.name, hint=hint)
    return nodes[site.name]["fn"]


def _centre(fn: TorchDistribution) -> Tensor:
    try:
        mean = fn.mean  # torch's Categorical has NaN there: labels have no mean, but a most likely value
        return fn.mode if bool(mean.isnan().all()) else mean
    except NotImplementedError:
        return fn.sample((64,)).mean(0)  # pyright: ignore[reportArgumentType]


def encode(self: Program, x: object, context: object = None) -> Tensor:
    """Return the posterior mean of z, shape (N, *latent_shape); by 64 draws where it has no closed form."""
    with torch.no_grad():
        return _centre(self.posterior(x, context))


def decode(self: Program, z: Tensor, context: object = None) -> Tensor:
    """Return E[x | z, c], shape (N, *event_shape).

    Raises:
        ShapeError: z does not have the latent's event shape.
    """
    site = first_latent(self)
    z = check_data(z, site.event_shape, site.support, self.dtype, self.name, site.name).to(self.device)
    n = z.shape[0]
    c = check_context(context, self.context_features, n, self.dtype, self.name)
    with evaluating(self), torch.no_grad():
        nodes = draw(functools.partial(self.model, None, c, n), {site.name: z})
        return _centre(nodes[self.observed]["fn"])


def reconstruct(self: Program, x: object, context: object = None) -> Tensor:
    """Return E[x' | z = E[z | x]], shape (N, *event_shape)."""
    return self.decode(self.encode(x, context), context)


def score(
    self: Program, x: object, context: object = None, *, density: Density | None = None, seed: Seed = None
) -> Tensor:
    """Return ∇_x log p(x | c), shape (N, *event_shape), through whatever density the program has.

    An unnormalised density gives the exact score; a bound gives the score of the bound. ``seed`` as in ``log_prob``.

    Raises:
        UnsupportedQueryError: x is discrete.
    """
    if self.structure.observed.discrete:
        raise UnsupportedQueryError("a discrete x has no score", program=self.name, site=self.observed)
    rows, c = self.check_batch(x, context)
    rows = rows.detach().requires_grad_(True)
    value = self.log_prob(rows, c, density=density, seed=seed).value
    return torch.autograd.grad(value.sum(), rows)[0].detach()


def energy(
    self: Program, x: object, context: object = None, *, density: Density | None = None, seed: Seed = None
) -> Tensor:
    """Return E(x) = −log p(x | c) up to a constant, shape (N,), in nats; ``seed`` as in ``log_prob``."""
    return -self.log_prob(x, context, density=density, seed=seed).value
