"""How many principal components: Minka's evidence, BIC, or the likelihood of held-out data.

Notation: λ_1 ≥ … ≥ λ_D the eigenvalues of the sample covariance, q latents, σ² the mean of λ_{q+1} … λ_D. The
parameters of PPCA number m = Dq − q(q − 1)/2 + 1 + D: axes and lengths, noise, mean. The maximum of its mean
log-likelihood depends on the eigenvalues alone,

    L_q = −½ [ D log 2π + Σ_{i≤q} log λ_i + (D − q) log σ² + D ].

All scores are in nats an example, and the larger is the better. Where the data leave no variance for the noise, or
the evidence cannot tell an axis from another of the same variance, the score is −∞.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.distributions.principal import principal_axes
from unigen.errors import ArgumentError, EmptyDataError, NonFiniteError, ShapeError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SINGULAR = 1e-12  # variance, as a fraction of the mean, that counts as none


@dataclass(frozen=True)
class Dimension:
    """The number of latents chosen, and the score of every candidate.

    Args:
        method: How they were scored.
        chosen: The candidate of the highest score; the smallest of several.
        candidates: Numbers of latents.
        scores: In nats an example, −∞ where the model has no maximum.
        stderr: Standard errors over the folds of a cross-validation, or None.
    """

    method: str
    chosen: int
    candidates: tuple[int, ...]
    scores: tuple[float, ...]
    stderr: tuple[float, ...] | None = None

    def __int__(self) -> int:
        """Return the number chosen."""
        return self.chosen

    def __str__(self) -> str:
        """Write the choice, and by how much it leads the next best."""
        finite = sorted((s for s in self.scores if math.isfinite(s)), reverse=True)
        lead = f", {finite[0] - finite[1]:.3g} nats an example above the next" if len(finite) > 1 else ""
        return f"{self.chosen} latents by {self.method}{lead} ({len(self.candidates)} candidates)"

    def plot(self) -> Figure:
        """Draw the finite scores against the candidates, the choice marked."""
        from unigen.plots.scores import scores

        return scores(self.candidates, self.scores, self.chosen, stderr=self.stderr, title=self.method)


def minka(eigenvalues: Tensor, n: int, q: int) -> float:
    """Return Minka's Laplace approximation of the log evidence of q latents, in nats for all n examples.

    Args:
        eigenvalues: λ falling, shape (D,), of the covariance divided by N − 1 (as scikit-learn has it).
        n: N.
        q: 1 ≤ q < D.

    References:
        Minka, Automatic choice of dimensionality for PCA, NeurIPS 2000, equation 78 without constants.
    """
    values = eigenvalues.double()
    d, v = values.shape[0], values[q:].mean()
    if not bool(v > SINGULAR * values.mean()):
        return -math.inf
    flat = torch.cat([values[:q], v.expand(d - q)])
    i, j = torch.triu_indices(d, d, 1)
    i, j = i[i < q], j[i < q]
    gaps = (values[i] - values[j]) * (1 / flat[j] - 1 / flat[i])
    if not bool((gaps > 1e-14).all()):
        return -math.inf
    half = (d - torch.arange(q, dtype=torch.float64)) / 2
    axes = -q * math.log(2) + (torch.lgamma(half) - half * math.log(math.pi)).sum()  # uniform over frames
    fit = -n / 2 * (values[:q].log().sum() + (d - q) * v.log())
    m = d * q - q * (q + 1) / 2
    curvature = (gaps.log() + math.log(n)).sum()
    log_2pi = math.log(2 * math.pi)
    return float(axes + fit + (m + q) / 2 * log_2pi - curvature / 2 - q / 2 * math.log(n))


def bic(eigenvalues: Tensor, n: int, q: int) -> float:
    """Return N L_q − ½ m log N in nats for all n examples.

    Args:
        eigenvalues: λ falling, shape (D,), of the covariance divided by N.
        n: N.
        q: 1 ≤ q < D.

    References:
        Schwarz, Estimating the dimension of a model, 1978.
    """
    values, d = eigenvalues.double(), eigenvalues.shape[0]
    v = values[q:].mean()
    if not bool(v > SINGULAR * values.mean()):
        return -math.inf
    likelihood = -0.5 * (d * math.log(2 * math.pi) + values[:q].log().sum() + (d - q) * v.log() + d)
    return float(n * likelihood - 0.5 * (d * q - q * (q - 1) / 2 + 1 + d) * math.log(n))


def held_out(train: Tensor, test: Tensor, candidates: Sequence[int]) -> Tensor:
    """Return the mean log-likelihood of test data under the PPCA of the training data, for each q at once.

    Args:
        train: Shape (N, D).
        test: Shape (M, D).
        candidates: Numbers of latents q.

    Returns:
        Nats an example, shape (len(candidates),).
    """
    mean, values, axes = principal_axes(train)
    d = values.shape[0]
    spread = ((test.double() - mean) @ axes).square().mean(0)  # variance of the test data along each axis
    out = []
    for q in candidates:
        v = values[q:].mean()
        if not bool(v > SINGULAR * values.mean()):
            out.append(-math.inf)
            continue
        lengths = torch.cat([values[:q], v.expand(d - q)])
        out.append(float(-0.5 * ((2 * math.pi * lengths).log() + spread / lengths).sum()))
    return torch.tensor(out, dtype=torch.float64)


def _cross_validate(x: Tensor, candidates: Sequence[int], folds: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return the mean over folds and its standard error, a candidate each."""
    if not 2 <= folds <= x.shape[0]:
        raise ArgumentError(site="folds", got=folds, expected=f"2 ≤ folds ≤ N = {x.shape[0]}")
    order = torch.randperm(x.shape[0], generator=torch.Generator().manual_seed(seed)).to(x.device)
    parts = order.tensor_split(folds)
    scores = torch.stack(
        [
            held_out(x[torch.cat([p for j, p in enumerate(parts) if j != i])], x[part], candidates)
            for i, part in enumerate(parts)
        ]
    )
    return scores.mean(0), scores.nan_to_num(neginf=0.0).std(0) / math.sqrt(folds)


def _checked(x: Tensor, candidates: Sequence[int] | None) -> tuple[Tensor, list[int]]:
    if not isinstance(x, Tensor) or x.dim() != 2 or x.shape[1] < 2:
        raise ShapeError(site="x", got=tuple(getattr(x, "shape", ())), expected="(N, D) with D ≥ 2")
    if x.shape[0] < 2:
        raise EmptyDataError(site="x", got=f"{x.shape[0]} examples", expected="at least two")
    if not bool(x.isfinite().all()):
        raise NonFiniteError(site="x", got="NaN or infinite entries", expected="finite numbers")
    chosen = list(range(1, x.shape[1])) if candidates is None else sorted(set(candidates))
    if not chosen or chosen[0] < 1 or chosen[-1] >= x.shape[1]:
        raise ArgumentError(site="candidates", got=chosen, expected=f"1 ≤ latents < {x.shape[1]}")
    return x.detach(), chosen


def choose_latents(
    x: Tensor,
    method: str = "minka",
    *,
    candidates: Sequence[int] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Dimension:
    """Return the number of latents of PPCA that the data support.

    Args:
        x: Data, shape (N, D), D ≥ 2.
        method: ``"minka"``: evidence with the axes integrated out, N ≥ D; ``"bic"``; ``"cross-validation"``.
        candidates: Numbers of latents to compare; 1 … D − 1 if omitted.
        folds: Of the cross-validation.
        seed: Of its partition.

    Returns:
        The choice with the score of each candidate, in nats an example.

    Raises:
        ArgumentError: Another method, candidates outside 1 … D − 1, fewer examples than features for Minka's
            evidence, or data to which no candidate can be fitted.
        ShapeError, EmptyDataError, NonFiniteError: Bad data.

    References:
        Minka 2000; Schwarz 1978.

    Example:
        >>> x = torch.randn(500, 2) @ torch.randn(2, 6) * 3 + torch.randn(500, 6)
        >>> choose_latents(x).chosen, choose_latents(x, "bic").chosen
        (2, 2)
    """
    x, tried = _checked(x, candidates)
    n, d = x.shape
    stderr = None
    if method == "cross-validation":
        scores, errors = _cross_validate(x, tried, folds, seed)
        stderr = tuple(errors.tolist())
    elif method in ("minka", "bic"):
        if method == "minka" and n < d:
            raise ArgumentError(
                site="x",
                got=f"{n} examples of {d} features",
                expected="N ≥ D",
                hint="method='cross-validation'",
            )
        values = principal_axes(x)[1] * (n / (n - 1) if method == "minka" else 1.0)
        score: Callable[[Tensor, int, int], float] = minka if method == "minka" else bic
        scores = torch.tensor([score(values, n, q) / n for q in tried], dtype=torch.float64)
    else:
        raise ArgumentError(site="method", got=method, expected="'minka', 'bic' or 'cross-validation'")
    if not bool(scores.isfinite().any()):
        raise ArgumentError(
            "no candidate leaves variance for the noise", site="candidates", got=tried, hint="fewer latents"
        )
    best = tried[int(scores.argmax())]
    return Dimension(method, best, tuple(tried), tuple(scores.tolist()), stderr)
