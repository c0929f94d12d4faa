"""Leading eigenpairs of a symmetric matrix that is known by its products alone.

Block Krylov with thick restarts: a basis V grows by the residuals R = SY − YΘ of its Ritz pairs (Y, Θ), which for
starting blocks of Ritz vectors spans the Krylov space of Lanczos; when it is full the leading Ritz vectors stay.
A pair has converged when ‖Sy − θy‖ ≤ tolerance · θ_1, whereupon θ is within tolerance² θ_1² / gap of an eigenvalue.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

GUARD = 10  # vectors beyond those asked for
BLOCKS = 8  # of the basis between restarts


def leading_eigenpairs(
    product: Callable[[Tensor], Tensor],
    size: int,
    count: int,
    device: torch.device | str = "cpu",
    *,
    tolerance: float = 1e-7,
    passes: int = 200,
) -> tuple[Tensor, Tensor] | None:
    """Return the largest eigenvalues and their eigenvectors, or None if they have not converged.

    The start is random from a fixed seed of its own: equal matrices give equal results.

    Args:
        product: V (D, m) → SV (D, m), in float64.
        size: D.
        count: Number of pairs; the basis of up to 8 (count + 10) vectors must fit into D.
        device: Where the vectors live.
        tolerance: Largest residual norm, relative to the largest eigenvalue.
        passes: Products at most.

    Returns:
        Eigenvalues (count,) falling and eigenvectors (D, count) in columns.

    References:
        Musco & Musco, Randomized block Krylov methods, 2015; Wu & Simon, Thick-restart Lanczos, 2000.

    Example:
        >>> values, _ = leading_eigenpairs(lambda v: torch.arange(200.0)[:, None] * v, 200, 2)
        >>> values.tolist()
        [199.0, 198.0]
    """
    width = min(count + GUARD, size)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(size, width, generator=generator, dtype=torch.float64).to(device)
    basis = torch.linalg.qr(start).Q
    images = product(basis).double()
    for _ in range(passes):
        inner = basis.mT @ images
        theta, rotation = torch.linalg.eigh((inner + inner.mT) / 2)
        theta, rotation = theta.flip(0)[:width], rotation.flip(1)[:, :width]
        ritz, image = basis @ rotation, images @ rotation
        residual = image - ritz * theta
        worst = residual[:, :count].norm(dim=0).max()
        if bool(worst <= tolerance * theta[0].abs().clamp_min(torch.finfo(theta.dtype).tiny)):
            return theta[:count], ritz[:, :count]
        if basis.shape[1] + width > min(BLOCKS * width, size):
            basis, images = ritz, image
        for _ in range(2):  # once is not enough for orthogonality to the last digit
            residual = residual - basis @ (basis.mT @ residual)
            residual = torch.linalg.qr(residual).Q
        basis = torch.cat([basis, residual], 1)
        images = torch.cat([images, product(residual).double()], 1)
    return None
