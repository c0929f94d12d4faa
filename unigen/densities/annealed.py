"""log Z of a program by annealed importance sampling, with a bracket from both sides."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable

import torch
from torch import Tensor
from torch.distributions import Distribution

from unigen.densities.annealed_normaliser import anneal_down, anneal_up, effective_chains, log_mean
from unigen.densities.annealing import ladder
from unigen.densities.geometric_path import GeometricPath
from unigen.densities.normaliser import HasStates, Normaliser
from unigen.errors import ArgumentError, NonFiniteError, UnsupportedQueryError
from unigen.logprob import Kind, LogProb
from unigen.program import Program
from unigen.queries import evaluating

SWEEPS, SETTLE = 10_000, 100  # of chains towards draws of the target: Gibbs, and Hamiltonian after annealing


@runtime_checkable
class HasPath(Protocol):
    """A program with a method `path()` that returns an AnnealingPath to its density."""

    def path(self) -> Any:
        """Return the path."""
        ...


@dataclass(frozen=True, eq=False)
class NormaliserBracket:
    """log Z between annealing up and annealing down, in nats.

    Args:
        lower: log mean w, a lower bound of log Z in expectation, shape (), with its standard error.
        upper: −log mean 1/w, an upper bound in expectation where the starts are exact draws, else an estimate.
        effective: Effective numbers of chains, up and down.
    """

    lower: LogProb
    upper: LogProb
    effective: tuple[float, float]

    @property
    def gap(self) -> float:
        """upper − lower in nats."""
        return (self.upper.value - self.lower.value).item()

    @property
    def gap_stderr(self) -> float:
        """Standard error of the gap in nats, from those of the two sides."""
        one, two = self.lower.stderr, self.upper.stderr
        return float("nan") if one is None or two is None else torch.hypot(one, two).item()

    def __str__(self) -> str:
        """Write both sides, what the upper one is, and the gap."""
        return (
            f"{self.lower.value.item():.6g} ({self.lower.kind}) ≤ log Z ≤ {self.upper.value.item():.6g} "
            f"({self.upper.kind}); gap {self.gap:.3g} ± {self.gap_stderr:.2g} nats, effective chains "
            f"{self.effective[0]:.0f} up, {self.effective[1]:.0f} down"
        )


@final
class AnnealedNormaliser(Normaliser):
    """log Z ≈ log Z_0 + log 1/K Σ_k w_k, annealed from a base of known log Z_0 to the program's energy.

    A program with a ``path()`` of its own (RBM, Ising) is annealed along that; any other energy or density on the reals
    along the geometric path from ``base``, with Hamiltonian transitions (``GeometricPath``).

    ``log_z`` is that estimate with the standard error of the delta method; ``lower`` is the same number as a bound in
    expectation, ``upper`` anneals draws of the program down, ``bracket`` does both.

    Args:
        steps: T, densities on the path.
        chains: K, independent chains, run together.
        rise: How the β crowd at both ends; see ``ladder``. Small is linear.
        base: Where the geometric path begins: a program with exact density and draws, or a torch distribution; a
            Gaussian fitted to the program's own draws if omitted.
        leapfrog: Leapfrog steps of a transition on the geometric path; 1 is MALA.

    Raises:
        ArgumentError: A number out of range.

    References:
        Neal 2001; Salakhutdinov & Murray 2008; Grosse, Ghahramani & Adams 2015; Burda, Grosse & Salakhutdinov, Accurate
        and conservative estimates of MRF log-likelihood using reverse annealing, 2015.

    Example:
        >>> import unigen as ug
        >>> log_z = AnnealedNormaliser(steps=20, chains=8).log_z(ug.RBM(features=5, hidden=3))
        >>> print(log_z.kind, log_z.value.shape)
        estimate torch.Size([])
    """

    kind = Kind.ESTIMATE

    def __init__(
        self,
        steps: int = 1000,
        chains: int = 100,
        *,
        rise: float = 2.0,
        base: Program | Distribution | None = None,
        leapfrog: int = 5,
    ) -> None:
        for name, value in (("steps", steps), ("chains", chains), ("leapfrog", leapfrog)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ArgumentError(
                    program="AnnealedNormaliser", site=name, got=value, expected="a positive integer"
                )
        if not rise > 0:
            raise ArgumentError(program="AnnealedNormaliser", site="rise", got=rise, expected="> 0")
        self.steps, self.chains, self.rise = steps, chains, rise
        self.base, self.leapfrog = base, leapfrog

    def log_z(self, program: Program) -> LogProb:
        """Return the estimate of log Z in nats, shape (), with its standard error.

        Raises:
            UnsupportedQueryError: The program has no annealing path.
            NonFiniteError: No chain has a finite weight.
        """
        with evaluating(program):
            value, stderr, _ = self._up(self._path(program), program)
        return LogProb(value, Kind.ESTIMATE, stderr)

    def lower(self, program: Program) -> LogProb:
        """Return the number of ``log_z`` as what it is in expectation: a lower bound."""
        found = self.log_z(program)
        return LogProb(found.value, Kind.LOWER_BOUND, found.stderr)

    def upper(self, program: Program, x: Tensor | None = None, *, sweeps: int | None = None) -> LogProb:
        """Return −log 1/K Σ 1/w from chains that start at draws of the program.

        Args:
            program: The program.
            x: Exact draws of it, shape (K, *event). If omitted they are drawn by enumeration where there are at most
                2²⁰ states; elsewhere they are the ends of chains, and the result is no bound but an estimate.
            sweeps: Length of those chains; 10,000 of Gibbs, 100 Hamiltonian transitions after annealing up.
        """
        with evaluating(program):
            return self._down(self._path(program), program, x, sweeps)[0]

    def bracket(
        self, program: Program, x: Tensor | None = None, *, sweeps: int | None = None
    ) -> NormaliserBracket:
        """Return both sides; arguments as for ``upper``."""
        with evaluating(program):
            path = self._path(program)
            value, stderr, up = self._up(path, program)
            upper, down = self._down(path, program, x, sweeps)
        return NormaliserBracket(LogProb(value, Kind.LOWER_BOUND, stderr), upper, (up, down))

    def _path(self, program: Program) -> Any:
        if isinstance(program, HasPath):
            return program.path()
        return GeometricPath(program, self.base, self.leapfrog)

    @torch.no_grad()
    def _up(self, path: Any, program: Program) -> tuple[Tensor, Tensor | None, float]:
        log_w, _ = anneal_up(path, ladder(self.steps, self.rise), self.chains)
        value, stderr = log_mean(_finite(log_w, program))
        return path.log_z_base + value, stderr, effective_chains(log_w)

    @torch.no_grad()
    def _down(
        self, path: Any, program: Program, x: Tensor | None, sweeps: int | None
    ) -> tuple[LogProb, float]:
        betas, kind = ladder(self.steps, self.rise), Kind.UPPER_BOUND
        if x is not None:
            x, _ = program.check_batch(x)
        elif isinstance(path, GeometricPath):
            x, kind = (
                path.target_draws(self.chains, betas, SETTLE if sweeps is None else sweeps),
                Kind.ESTIMATE,
            )
        else:
            x, exact = target_draws(program, self.chains, SWEEPS if sweeps is None else sweeps)
            kind = Kind.UPPER_BOUND if exact else Kind.ESTIMATE
        log_w = _finite(anneal_down(path, betas, x), program)
        value, stderr = log_mean(log_w)
        return LogProb(path.log_z_base - value, kind, stderr), effective_chains(log_w)


def target_draws(program: Program, n: int, sweeps: int) -> tuple[Tensor, bool]:
    """Return n draws (n, *event) of a program, and whether they are exact.

    Raises:
        UnsupportedQueryError: Its states cannot be enumerated and it gives no conditionals.
    """
    if isinstance(program, HasStates):
        with suppress(UnsupportedQueryError):  # too many to enumerate: chains
            return program.states().sample(n), True
    sweep, start = getattr(program, "sweep", None), getattr(program, "start", None)
    if sweep is None or start is None:
        raise UnsupportedQueryError(
            "annealing down starts from draws of the program",
            program=program.name,
            hint="upper(program, x) with x = program.sample(n)",
        )
    x = start(n)
    for _ in range(sweeps):
        x = sweep(x)
    return x, False


def _finite(log_w: Tensor, program: Program) -> Tensor:
    if not bool(log_w.logsumexp(0).isfinite()):
        raise NonFiniteError(
            "no finite estimate of log Z",
            program=program.name,
            got=f"log weights in [{log_w.min().item():.4g}, {log_w.max().item():.4g}]",
            hint="check that the energy is finite where the base has draws",
        )
    return log_w
