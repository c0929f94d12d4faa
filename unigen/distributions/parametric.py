"""Any univariate Pyro distribution as the conditional of one feature.

    x_i ~ P(b_1(raw_i1), …, b_m(raw_im)),    b_j: ℝ → the set of the j-th parameter

with torch's own bijections ``biject_to(constraint)``: the identity for reals, exp for positive numbers, the logistic
function for intervals. Parameters come in the order of the distribution's constructor.
"""

from __future__ import annotations

import inspect
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import biject_to

from unigen.distributions.likelihoods import Likelihood
from unigen.errors import ArgumentError, UnknownNameError
from unigen.names import did_you_mean

STEPS = 50  # of L-BFGS, where training may start


class Parametric(Likelihood):
    """A distribution of ``pyro.distributions``, by name; ``likelihood(dist.Gamma)`` is the short way to it.

    Args:
        name: Name of a univariate distribution, ``"Gamma"``.
        fixed: Parameters that are numbers, by name; the others are outputs of the network.

    Raises:
        UnknownNameError: There is no such distribution.
        ArgumentError: It is not univariate, its support depends on a parameter that is not fixed, or ``fixed`` names
            what it does not have.

    Example:
        >>> Parametric("StudentT", {"df": 4.0}).free
        ('loc', 'scale')
    """

    def __init__(self, name: str, fixed: dict[str, float] | None = None) -> None:
        super().__init__()
        self.name, self.fixed = name, {} if fixed is None else dict(fixed)
        family: Any = getattr(dist, name, None)
        if not (isinstance(family, type) and issubclass(family, dist.Distribution)):
            known = [k for k, v in vars(dist).items() if isinstance(v, type)]
            raise UnknownNameError(
                program="likelihood", got=repr(name), expected="a distribution of pyro.distributions",
                hint=did_you_mean(name, known, "likelihood(dist.Gamma)"),
            )  # fmt: skip
        self.family: Any = family
        self.free = _free(family, self.fixed)
        if not self.free:
            raise ArgumentError("every parameter is fixed", program=name, hint="leave one to the network")
        self.bijections = {n: biject_to(self.family.arg_constraints[n]) for n in self.free}
        self.parameters_per_feature = len(self.free)
        first, second = (self._at(torch.full((1, len(self.free)), value)) for value in (0.0, 1.0))
        if first.event_shape or first.batch_shape != (1,):
            raise ArgumentError(
                "a feature is a single number", program=name, got=f"event shape {tuple(first.event_shape)}",
                expected="a univariate distribution",
            )  # fmt: skip
        if str(first.support) != str(second.support):
            raise ArgumentError(
                "its support depends on a parameter", program=name, got=f"{first.support} and {second.support}",
                expected="one support for every output of the network", hint="fix that parameter",
            )  # fmt: skip
        self.support, self.reparameterised = first.support, first.has_rsample

    def _at(self, raw: Tensor) -> Any:
        values = {n: self.bijections[n](raw[..., j]) for j, n in enumerate(self.free)}
        like = {n: torch.full_like(raw[..., 0], v) for n, v in self.fixed.items()}
        return self.family(**values, **like)

    def elementwise(self, raw: Tensor, event_shape: torch.Size) -> TorchDistribution:
        """Return the distribution."""
        return self._at(raw)

    def encode(self, x: Tensor) -> Tensor:
        """Return x; log(1 + x) where x ≥ 0 is unbounded."""
        support: Any = self.support
        unbounded = getattr(support, "lower_bound", -1) >= 0 and not hasattr(support, "upper_bound")
        return torch.log1p(x) if unbounded else x

    def marginals(self, x: Tensor) -> Tensor:
        """Return the raw parameters that maximise the likelihood of each feature, by L-BFGS from 0."""
        raw = x.new_zeros(x.shape[1], self.parameters_per_feature, requires_grad=True)
        optimizer = torch.optim.LBFGS([raw], max_iter=STEPS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = -self._at(raw).log_prob(x).sum() / x.shape[0]
            value.backward()
            return value

        with torch.enable_grad():
            optimizer.step(loss)  # pyright: ignore[reportArgumentType]
        return raw.detach()

    def extra_repr(self) -> str:
        """Return the distribution and what is fixed."""
        return ", ".join([self.name, *(f"{n}={v:g}" for n, v in self.fixed.items())])


def _free(family: Any, fixed: dict[str, float]) -> tuple[str, ...]:
    """Return the parameters that a network gives: one of each pair such as probs and logits."""
    constraints = family.arg_constraints
    named = list(inspect.signature(family.__init__).parameters)
    strange = sorted(set(fixed) - set(named))
    if not isinstance(constraints, dict) or strange:
        raise ArgumentError(
            program=family.__name__, site="fixed", got=strange or "parameters that constrain one another",
            expected=f"some of {[n for n in named if n not in ('self', 'validate_args')]}",
        )  # fmt: skip
    twins = {
        "probs": "logits",
        **{n.removesuffix("_logits"): n for n in constraints if n.endswith("_logits")},
    }
    twins = {a: b for a, b in twins.items() if a in constraints and b in constraints}
    taken = {twins.get(n, n) for n in fixed}
    return tuple(
        n for n in named if n in constraints and n not in fixed and n not in twins and n not in taken
    )


def likelihood(family: type[Any], **fixed: float) -> Parametric:
    """Return a Pyro distribution as the likelihood of one feature, its parameters outputs of the network.

    Args:
        family: A univariate class of ``pyro.distributions`` or ``torch.distributions``.
        fixed: Parameters that are numbers instead.

    Raises:
        UnknownNameError, ArgumentError: As ``Parametric``.

    Example:
        >>> likelihood(dist.Gamma)(torch.zeros(5, 6), (3,)).log_prob(torch.ones(5, 3))[0]
        tensor(-3.)
    """
    return Parametric(family.__name__, fixed)
