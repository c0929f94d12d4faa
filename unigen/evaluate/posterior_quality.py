"""How good draws of a fitted guide over parameters are: effective sample size and Pareto-k of their weights."""

from __future__ import annotations

from unigen.errors import ArgumentError
from unigen.evaluate.guide_quality import GuideQuality
from unigen.evaluate.pareto import LEAST, smooth
from unigen.inference.draws import Draws


def posterior_quality(draws: Draws) -> GuideQuality:
    """Weigh the draws of a variational engine by p(x, θ) / q(θ) and say how far they can be trusted.

        ESS = (Σ_s w_s)² / Σ_s w_s²,    k from the largest w_s: up to 0.7 weighted draws give the posterior's moments

    Args:
        draws: Of ``ug.infer`` with ``ug.Variational(…)`` or ``ug.Laplace(…)``, 25 at least.

    Returns:
        GuideQuality with one entry.

    Raises:
        UnsupportedQueryError: The draws are those of Markov chains.
        ArgumentError: Too few draws.

    References:
        Yao, Vehtari, Simpson & Gelman, Yes, but did it work?, 2018; Vehtari et al. 2024.

    Example:
        >>> import torch, pyro.distributions as dist, unigen as ug
        >>> model = ug.bayesian(ug.PPCA(features=2, latents=1), {"mean": dist.Normal(0.0, 1.0)}).double()
        >>> draws = ug.infer(model, torch.randn(20, 2), engine=ug.Laplace(draws=100), seed=0)
        >>> round(float(posterior_quality(draws).efficiency), 6)  # a Gaussian posterior
        1.0
    """
    log_w = draws.log_weights.double()
    if log_w.shape[0] < LEAST:
        raise ArgumentError(
            program=draws.program.name, site="draws", got=log_w.shape[0], expected=f"≥ {LEAST}"
        )
    efficiency = (2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp() / log_w.shape[0]
    return GuideQuality(efficiency, smooth(log_w)[1], log_w.shape[0])
