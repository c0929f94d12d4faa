"""Test log-likelihood on the digits beside baselines by other libraries, in nats an image.

    python -m benchmarks.digits --json

Targets: PPCA equals the closed form (eigenvalues by NumPy, density by SciPy) to 1e-3; NSF and diffusion stand at
least 20 nats above a shrunk full-covariance Gaussian (scikit-learn's Ledoit–Wolf).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf
from sklearn.mixture import GaussianMixture

from unigen.data.digits import digits
from unigen.study.worker import fit_row

ROWS = ("PPCA", "Gaussian mixture", "RealNVP", "MAF", "NSF", "Diffusion")
ABOVE = 20.0


def closed_form_ppca(train: np.ndarray, test: np.ndarray, latents: int) -> float:
    """Return the mean test log-likelihood of PPCA at Tipping & Bishop's maximum."""
    values, vectors = np.linalg.eigh(np.cov(train.T, bias=True))
    values, vectors = values[::-1], vectors[:, ::-1]
    variance = values[latents:].mean()
    weight = vectors[:, :latents] * np.sqrt(values[:latents] - variance)
    covariance = weight @ weight.T + variance * np.eye(train.shape[1])
    return float(multivariate_normal(train.mean(0), covariance).logpdf(test).mean())


def baselines() -> dict[str, float]:
    """Return the figures of the other libraries."""
    data = digits()
    train, test = data.train.double().numpy(), data.test.double().numpy()
    mixture = GaussianMixture(10, random_state=0, reg_covar=1e-3).fit(train)
    return {
        "shrunk Gaussian (scikit-learn)": float(LedoitWolf().fit(train).score(test)),
        "mixture of 10 Gaussians (scikit-learn)": float(mixture.score(test)),
        "PPCA, closed form (NumPy, SciPy)": closed_form_ppca(train, test, 30),
    }


def main() -> None:
    """Fit, score, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found: dict[str, object] = dict(baselines())
    gaussian = float(found["shrunk Gaussian (scikit-learn)"])  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        for name in ROWS:
            row = fit_row(name, Path(folder), False, options.seed)
            found[name] = {
                k: row[k] for k in ("nats", "stderr", "kind", "fit_seconds", "parameters", "error")
            }
            if not options.json:
                score = f"{row['nats']:.3f} ± {row['stderr']:.2f} nats ({row['kind']})"
                print(f"{name}: {score}, {row['fit_seconds']:.0f} s")
    nats = {name: found[name]["nats"] for name in ROWS}  # type: ignore[index]
    found["met"] = {
        "PPCA equals the closed form to 1e-3": abs(nats["PPCA"] - found["PPCA, closed form (NumPy, SciPy)"])
        < 1e-3,
        "NSF 20 nats above the Gaussian": nats["NSF"] >= gaussian + ABOVE,
        "diffusion 20 nats above the Gaussian": nats["Diffusion"] >= gaussian + ABOVE,
    }
    print(json.dumps(found if options.json else found["met"], indent=2))


if __name__ == "__main__":
    main()
