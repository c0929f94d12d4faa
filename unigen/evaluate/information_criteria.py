"""PSIS-LOO and WAIC on what ``to_arviz`` returns, refused where the numbers would mean nothing."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from unigen.errors import KindError, MissingExtraError
from unigen.evaluate.pareto import smooth


def _checked(idata: Any, site: str) -> Any:
    """Return the groups if log p(x_i | θ_s) is exact and θ has draws.

    Raises:
        KindError: It is not.
    """
    groups = idata.groups() if callable(getattr(idata, "groups", None)) else list(idata.children)
    if "log_likelihood" not in groups:
        raise KindError(
            "there is no pointwise log p(x_i | θ): the program has no normalised density",
            got="no group log_likelihood",
            hint="two-sample tests (evaluate.mmd, evaluate.classifier_test) need draws only",
        )
    array = idata["log_likelihood"][site]
    kind = array.attrs.get("kind", "exact")
    if kind != "exact":
        raise KindError(
            "leave-one-out needs log p(x_i | θ) itself: ratios of bounds are no importance weights",
            got=f"kind {kind}", expected="exact",
            hint="compare held-out log_prob with evaluate.compare, tightened by density=ug.AIS(…)",
        )  # fmt: skip
    values = np.asarray(array.values)
    if np.ptp(values.reshape(-1, *values.shape[2:]), axis=0).max() == 0.0:
        raise KindError(
            "the parameters are a point, the same in every draw: leaving one out would change nothing",
            got="log p(x_i | θ) equal in all draws", expected="draws of θ",
            hint="evaluate.compare on held-out data; or make θ random: latents outside the plate",
        )  # fmt: skip
    return idata


def _arviz(name: str) -> Any:
    arviz: Any = importlib.import_module("arviz")
    if not hasattr(arviz, name):
        raise MissingExtraError(f"ArviZ {arviz.__version__} has no {name}", hint="evaluate.loo")
    return getattr(arviz, name)


def loo(idata: Any, site: str = "x") -> Any:
    """Return ArviZ's PSIS-LOO of a program with random parameters, pointwise, with Pareto-k of each example.

    elpd = Σ_i log p(x_i | x_{−i}), in nats.

    Args:
        idata: What ``to_arviz`` returned.
        site: The observed site.

    Returns:
        ``arviz.ELPDData``.

    Raises:
        KindError: log p(x_i | θ) is a bound, unnormalised or unknown, or θ is a point.

    References:
        Vehtari, Gelman & Gabry 2017.
    """
    return _arviz("loo")(_checked(idata, site), pointwise=True, var_name=site)


def waic(idata: Any, site: str = "x") -> Any:
    """Return ArviZ's WAIC, in nats; arguments, results and refusals are those of ``loo``.

    Raises:
        MissingExtraError: ArviZ 1.x, which has dropped it.
    """
    return _arviz("waic")(_checked(idata, site), pointwise=True, var_name=site)


def loo_pit(idata: Any, site: str = "x") -> np.ndarray:
    """Return the leave-one-out probability integral transform of every number of the data.

    PIT_i = Pr(x_rep,i ≤ x_i | x_{−i}), by the replicates under Pareto-smoothed weights: uniform on [0, 1] if the
    model is right and the data are continuous.

    Args:
        idata: What ``to_arviz`` returned for draws, with ``posterior_predictive``.
        site: The observed site.

    Returns:
        Probabilities, shape (N, *event_shape).

    Raises:
        KindError: As for ``loo``.

    References:
        Gelfand, Dey & Chang 1992; Vehtari, Gelman & Gabry 2017.
    """
    checked = _checked(idata, site)
    x = np.asarray(checked["observed_data"][site].values)
    n = x.shape[0]
    again = np.asarray(checked["posterior_predictive"][site].values).reshape(-1, n, x[0].size)
    log_lik = torch.from_numpy(np.asarray(checked["log_likelihood"][site].values, float).reshape(-1, n))
    weights = smooth(-log_lik)[0].exp().numpy()
    below = (again <= x.reshape(1, n, -1)).astype(float)
    return np.clip(np.einsum("sn,snd->nd", weights, below), 0.0, 1.0).reshape(x.shape)


def compare_loo(idatas: Mapping[str, Any], site: str = "x") -> Any:
    """Return ArviZ's table of models ranked by PSIS-LOO, after the checks of ``loo`` on each.

    Args:
        idatas: What ``to_arviz`` returned, by name, on the same data.
        site: The observed site.

    Returns:
        ``pandas.DataFrame``.
    """
    checked = {name: _checked(idata, site) for name, idata in idatas.items()}
    with warnings.catch_warnings():  # ArviZ 0.23 sorts with a keyword that pandas 3.1 deprecates
        warnings.filterwarnings("ignore", "The inplace keyword", DeprecationWarning)
        return _arviz("compare")(checked, var_name=site)
