"""The geometric path from a density with draws to any energy, with Hamiltonian transitions.

    log f_β(x) = (1 − β) log q(x) − β E(x),      0 ≤ β ≤ 1,

q normalised, so that log Z_0 = 0. Chains move in coordinates u in which draws of q are white, x = m + R u; their step
sizes are found by a pilot run along the path and then frozen, which leaves every f_β invariant whatever it found.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal, constraints

from unigen.densities.annealed_normaliser import anneal_up
from unigen.densities.annealing import JITTER, ladder, pilot
from unigen.dynamics.hamiltonian import State, hamiltonian, state_at
from unigen.dynamics.particles import systematic
from unigen.errors import ArgumentError, NonFiniteError, ShapeError, UnsupportedQueryError
from unigen.logprob import Kind
from unigen.program import Program

PILOTS = 64  # chains that find the step sizes
RUNGS = 30  # temperatures at which they look
FITTED = 1000  # draws to which the Gaussian base is fitted
WIDER = 1.2  # its standard deviations in those of the draws: tails above the target's keep weights finite


class GeometricPath:
    """Densities and transitions between a base q and exp(−E), for ``AnnealedNormaliser`` and ``SMCNormaliser``.

    Args:
        program: Its ``log_prob`` is −E(x), exact or unnormalised, on all of Euclidean space.
        base: q: a program with exact density and draws, or a torch distribution over one example; a Gaussian fitted to
            draws of the program if omitted.
        leapfrog: Leapfrog steps of a transition, one gradient each; 1 is MALA.

    Raises:
        UnsupportedQueryError: x is discrete or bounded, the program is conditional, or has only a bound.
        ArgumentError: The base has no exact density.
        ShapeError: The base has another event shape.
        NonFiniteError: The energy is not finite at a draw of the base.
    """

    log_z_base: float | Tensor = 0.0

    def __init__(
        self, program: Program, base: Program | Distribution | None = None, leapfrog: int = 5
    ) -> None:
        _check_target(program)
        self.program, self.leapfrog = program, leapfrog
        self.draws, self.log_q = _base(program, base)
        x = self.draws(FITTED).flatten(1)
        self.loc, self.root = x.mean(0), torch.linalg.cholesky(_covariance(x))
        self.betas: list[float] = []
        self.step_sizes: list[Tensor] = []
        self._find_steps()

    def log_ratios(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return log q and −E − log q at u (K, D), both (K,), as densities of x; −inf where a trajectory diverged."""
        finite = u.isfinite().all(1)
        x = self.place(torch.where(finite[:, None], u, 0.0))
        log_q = self.log_q(x)
        log_ratio = self.program.density_of(x).value - log_q
        return log_q, torch.where(finite, log_ratio, -torch.inf)

    def place(self, u: Tensor) -> Tensor:
        """Return x = m + R u, shape (K, *event)."""
        return (self.loc + u @ self.root.mT).reshape(-1, *self.program.event_shape)

    def start(self, n: int) -> State:
        """Return n draws of the base."""
        return self.state(self.draws(n))

    def state(self, x: Tensor) -> State:
        """Return the state of chains that stand at x, shape (K, *event)."""
        apart = (x.flatten(1) - self.loc).mT
        return state_at(self.log_ratios, torch.linalg.solve_triangular(self.root, apart, upper=False).mT)

    def log_density(self, state: State, beta: float) -> Tensor:
        """Return log f_β of each chain in nats, shape (K,)."""
        return state.log_base + beta * state.log_ratio

    def transition(self, state: State, beta: float) -> State:
        """Return the chains after one Hamiltonian transition that leaves f_β invariant."""
        h = self.step_sizes[min(bisect_left(self.betas, beta), len(self.betas) - 1)]
        h = h * (1.0 + JITTER * (2.0 * torch.rand_like(state.log_base) - 1.0))
        return hamiltonian(self.log_ratios, state, beta, h, self.leapfrog)[0]

    @torch.no_grad()
    def target_draws(self, n: int, betas: Sequence[float], sweeps: int) -> Tensor:
        """Return approximate draws of the target: annealed up, resampled, and moved on, shape (n, *event)."""
        log_w, state = anneal_up(self, betas, n)
        chosen = systematic(log_w)
        state = State(state.u[chosen], state.log_base[chosen], state.log_ratio[chosen])
        for _ in range(sweeps):
            state = self.transition(state, 1.0)
        return self.place(state.u)

    def _find_steps(self) -> None:
        start = self.start(PILOTS)
        if not bool(torch.isfinite(start.log_ratio).all()):
            raise NonFiniteError(
                "the energy is not finite at a draw of the base", program=self.program.name, got="E = ±inf or NaN",
                hint="a base inside the energy's domain: AnnealedNormaliser(base=…)",
            )  # fmt: skip
        betas = [*ladder(RUNGS, 2.0), 1.0]  # the pilot stops before the last: the target is looked at too
        with torch.no_grad():
            found = pilot(self.log_ratios, start.u, betas, self.leapfrog, PILOTS)
        self.betas, self.step_sizes = betas[1:-1], list(found)


def _check_target(program: Program) -> None:
    if program.context_features:
        raise UnsupportedQueryError(
            "log Z of a conditional energy differs from context to context", program=program.name,
            hint="fix the context: ug.Potential(lambda x: program.energy(x, c), event_shape)",
        )  # fmt: skip
    support = program.support
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    if support is not constraints.real or program.kind not in (Kind.EXACT, Kind.UNNORMALISED):
        raise UnsupportedQueryError(
            "there is no annealing path to this program", program=program.name,
            got=f"support {support}, kind {program.kind}", expected="an energy or a density on the reals",
            hint="Enumeration() for few states; ug.AIS() for a program with latents",
        )  # fmt: skip


def _base(
    program: Program, base: Program | Distribution | None
) -> tuple[Callable[[int], Tensor], Callable[[Tensor], Tensor]]:
    """Return how the base is drawn, n → (n, *event), and log q."""
    if base is None:
        return _from(_fitted(program), program)
    if isinstance(base, Distribution):
        return _from(base, program)
    if not isinstance(base, Program) or base.kind is not Kind.EXACT or base.context_features:
        raise ArgumentError(
            program="GeometricPath", site="base",
            got=f"kind {base.kind}" if isinstance(base, Program) else type(base).__name__,
            expected="an unconditional program with exact density and draws, or a torch distribution",
        )  # fmt: skip
    _same_shape(base.event_shape, program)
    return lambda n: base.draw(n).detach(), lambda x: base.density_of(x).value


def _from(q: Distribution, program: Program) -> tuple[Callable[[int], Tensor], Callable[[Tensor], Tensor]]:
    shape = program.event_shape if q.batch_shape == torch.Size() else None
    flat = torch.Size([program.event_shape.numel()])
    if q.event_shape != flat or shape is None:
        _same_shape(q.batch_shape + q.event_shape, program)
        extra = len(q.batch_shape)
        return (
            lambda n: q.sample(torch.Size([n])),
            lambda x: q.log_prob(x).flatten(1).sum(1) if extra else q.log_prob(x),
        )
    return (
        lambda n: q.sample(torch.Size([n])).reshape(n, *program.event_shape),
        lambda x: q.log_prob(x.flatten(1)),
    )


def _same_shape(shape: torch.Size, program: Program) -> None:
    if shape != program.event_shape:
        raise ShapeError(
            program=program.name, site="base", got=tuple(shape), expected=tuple(program.event_shape)
        )


def _fitted(program: Program) -> MultivariateNormal:
    """Return a Gaussian with the moments of the program's own draws, a little wider."""
    with torch.no_grad():
        x = program.draw(FITTED).flatten(1)
    if not bool(torch.isfinite(x).all()):
        raise NonFiniteError(
            "draws of the program are not finite", program=program.name, hint="AnnealedNormaliser(base=…)"
        )
    root = torch.linalg.cholesky(_covariance(x))
    return MultivariateNormal(x.mean(0), scale_tril=WIDER * root, validate_args=False)


def _covariance(x: Tensor) -> Tensor:
    """Return the covariance of rows (K, D), with a little of its own diagonal; that alone where rows are few."""
    variance = x.var(0)
    floor = (1e-6 * variance.mean()).clamp_min(torch.finfo(x.dtype).tiny ** 0.5)
    diagonal = torch.diag(variance + floor)
    if x.shape[0] < 5 * x.shape[1]:
        return diagonal
    centred = x - x.mean(0)
    covariance = centred.mT @ centred / (x.shape[0] - 1)
    return (
        0.999 * covariance + 0.001 * diagonal + floor * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    )
