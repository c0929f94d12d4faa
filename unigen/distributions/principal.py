"""Principal axes of data of any length, width and place: in memory or in a file, read a chunk of rows at a time.

    μ = Σ_i w_i x_i / w,    S = Σ_i w_i (x_i − μ)(x_i − μ)ᵀ / w,    w = Σ_i w_i,    S u_j = λ_j u_j

Everything is accumulated in float64: a covariance from products in float32 loses eigenvalues below 10⁻⁷ λ_1. The
shape of the data chooses the way:

- N ≥ D: S in one pass over the rows, by the update of Chan, Golub & LeVeque, and its eigendecomposition, O(ND² + D³);
- N < D: the Gram matrix of the centred rows, which has the same eigenvalues, O(DN² + N³);
- both large and few axes wanted: block Krylov, some ten or twenty passes of O(ND) for each axis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from unigen.checks import chunks
from unigen.distributions.krylov import leading_eigenpairs

KRYLOV_FROM = 4000  # smaller of N and D from which a few axes are found without S
NUMBERS = 2**20  # of the data converted together


def principal_axes(
    x: Tensor, weights: Tensor | None = None, *, count: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, eigenvalues and axes of the covariance of x divided by N (or by the sum of the weights).

    All are float64; an axis has its entry of largest modulus positive. Where both N and D are large and ``count``
    is below a tenth of either, only that many eigenvalues are found and the others are given as their mean, so
    that sums and means over them hold.

    Args:
        x: Data, shape (N, D), of any floating dtype; a tensor over a ``numpy.memmap`` is read chunk by chunk.
        weights: w ≥ 0, shape (N,); 1 if omitted.
        count: Number of axes wanted; all D if omitted.

    Returns:
        Mean (D,), eigenvalues (D,) falling, axes (D, count) in columns.

    References:
        Chan, Golub & LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979.

    Example:
        >>> x = torch.tensor([[2.0, 0, 0], [-2, 0, 0], [0, 1, 0], [0, -1, 0]])
        >>> mean, values, axes = principal_axes(x, count=1)
        >>> values.tolist(), axes.mT.tolist()
        ([2.0, 0.5, 0.0], [[1.0, 0.0, 0.0]])
    """
    x = x.detach()
    n, d = x.shape
    count = d if count is None else count
    found = None
    if min(n, d) >= KRYLOV_FROM and 10 * count < min(n, d):
        found = _by_krylov(x, weights, count)
    if found is None:
        found = _by_covariance(x, weights, count) if n >= d else _by_gram(x, weights, count)
    mean, values, axes = found
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    return mean, values.clamp_min(0), axes * torch.where(largest < 0, -1.0, 1.0)


def covariance(x: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return (μ, S) in float64, shapes (D,) and (D, D), in one pass over the rows; arguments as above."""
    d = x.shape[1]
    total = x.new_zeros((), dtype=torch.float64)
    mean = x.new_zeros(d, dtype=torch.float64)
    scatter = x.new_zeros(d, d, dtype=torch.float64)
    for rows, w in _pieces(x, weights):
        size = w.sum()
        if not bool(size > 0):
            continue
        own = (rows * w[:, None]).sum(0) / size if weights is not None else rows.mean(0)
        rows = rows - own
        scatter += _gram(rows if weights is None else rows * w.sqrt()[:, None])
        apart = own - mean
        scatter.addr_(apart, apart, alpha=float(total * size / (total + size)))
        total = total + size
        mean = mean + apart * (size / total)
    return mean, scatter / total


def _pieces(x: Tensor, weights: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield consecutive rows and their weights, in float64."""
    start = 0
    for rows in chunks(x, max(NUMBERS, x.shape[1] ** 2)):
        stop = start + rows.shape[0]
        w = torch.ones(rows.shape[0], device=x.device) if weights is None else weights[start:stop]
        yield rows.double(), w.double()
        start = stop


def _gram(rows: Tensor) -> Tensor:
    """Return rowsᵀ rows; NumPy's product of an array with its own transpose takes half the operations."""
    if rows.device.type != "cpu":
        return rows.mT @ rows
    array = rows.numpy()
    return torch.from_numpy(array.T @ array)


def _mean(x: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return (μ, w)."""
    total, mean = x.new_zeros((), dtype=torch.float64), x.new_zeros(x.shape[1], dtype=torch.float64)
    for rows, w in _pieces(x, weights):
        total, mean = total + w.sum(), mean + w @ rows
    return mean / total, total


def _by_covariance(x: Tensor, weights: Tensor | None, count: int) -> tuple[Tensor, Tensor, Tensor]:
    mean, s = covariance(x, weights)
    values, vectors = torch.linalg.eigh(s)
    return mean, values.flip(0), vectors.flip(1)[:, :count]


def _by_gram(x: Tensor, weights: Tensor | None, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvectors v of the N × N Gram matrix give the axes Xᵀv; what lies in no example completes them."""
    n, d = x.shape
    mean, total = _mean(x, weights)
    root = ((torch.ones(n, device=x.device) if weights is None else weights).double() / total).sqrt()[:, None]
    width = max(n, NUMBERS // n)

    def blocks() -> Iterator[Tensor]:
        for i in range(0, d, width):
            yield (x[:, i : i + width].double() - mean[i : i + width]) * root

    gram = torch.zeros(n, n, dtype=torch.float64, device=x.device)
    for block in blocks():
        gram += _gram(block.mT)
    values, vectors = torch.linalg.eigh(gram)
    values, vectors = values.flip(0), vectors.flip(1)[:, :count]
    axes = torch.cat([block.mT @ vectors for block in blocks()])
    padding = axes.new_zeros(d, max(0, count - n))
    axes = torch.linalg.qr(torch.cat([axes, padding], 1)).Q
    return mean, torch.cat([values, values.new_zeros(d - n)]), axes


def _by_krylov(x: Tensor, weights: Tensor | None, count: int) -> tuple[Tensor, Tensor, Tensor] | None:
    """Leading axes by products S V alone, or None where they do not converge."""
    mean, total = _mean(x, weights)
    variances = sum((w @ (rows - mean).square() for rows, w in _pieces(x, weights)), torch.zeros_like(mean))

    def times(v: Tensor) -> Tensor:
        out = torch.zeros_like(v)
        for rows, w in _pieces(x, weights):
            rows = rows - mean
            out += rows.mT @ ((rows @ v) * w[:, None])
        return out / total

    product: Callable[[Tensor], Tensor] = times
    found = leading_eigenpairs(product, x.shape[1], count, x.device)
    if found is None:
        return None
    values, axes = found
    rest = (variances.sum() / total - values.sum()) / (x.shape[1] - count)
    return mean, torch.cat([values, rest.expand(x.shape[1] - count)]), axes
