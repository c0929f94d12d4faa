r"""An autoregressive model with Gaussian conditionals is a flow with a triangular Jacobian.

Notation: x_i = μ_i(x_{<i}) + σ_i(x_{<i}) z_i, z ~ N(0, I). Solved for z in one pass it is a masked autoregressive
flow, log p(x) = log N(z; 0, I) − Σ_i log σ_i; solved for x in D passes it draws. Exchanging the two directions gives
the inverse autoregressive flow.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from unigen.distributions.flow_steps import AutoregressiveStep
from unigen.distributions.likelihoods import Gaussian
from unigen.distributions.transforms import Affine
from unigen.errors import NoDensityError
from unigen.models.flow import MAF
from unigen.models.made import MADE
from unigen.program import Program
from unigen.relations.evidence import Claim, Evidence
from unigen.relations.relation import Relation

ROUNDING = 1e-9  # relative, float64
ROWS = 16  # examples on which Jacobians are formed


def gaussian_maf(mean: Tensor, covariance: Tensor) -> MAF:
    """Return the MAF of one affine autoregression that is N(mean, covariance): x = mean + L z, Σ = LLᵀ.

    Row i of Σ = LLᵀ gives z_i = (x_i − mean_i − Σ_{j<i} B_ij (x_j − mean_j)) / L_ii with B = I − diag(L) L⁻¹.
    """
    features = mean.shape[0]
    lower = torch.linalg.cholesky(covariance)
    flow = MAF(features, transforms=1, hidden=()).to(mean)
    inverse = torch.linalg.inv(lower)
    diagonal = torch.diagonal(inverse)
    first, step = flow.flow.steps[0], flow.flow.steps[1]
    with torch.no_grad():
        zero = torch.zeros_like(mean)
        first.phi.copy_(torch.stack((zero, Affine.unclip(zero)), -1))
        shift = -inverse @ mean
        if step.net.net is None:
            step.net.constant.copy_(torch.stack((shift[0], Affine.unclip(diagonal[0].log()))))
            return flow
        layer = step.net.net[-1]
        weight = torch.zeros(features, 2, features).to(mean)
        weight[:, 0] = inverse - torch.diag(diagonal)
        layer.weight.copy_(weight.reshape(2 * features, features))
        layer.bias.copy_(torch.stack((shift, Affine.unclip(diagonal.log())), -1).flatten())
    return flow


class FlowAutoregressive(Relation):
    """MAF is Gaussian autoregression; its Jacobian is triangular; IAF is its inverse."""

    id = 16
    name = "flow – autoregressive model"
    families = ("MAF", "MADE", "PPCA", "FactorAnalysis")
    statement = "an autoregressive model with Gaussian conditionals is a flow whose Jacobian is triangular"
    latex = (
        r"\log p(x) = \log N(z; 0, I) - \sum_i \log\sigma_i(x_{<i}), "
        r"\quad z_i = (x_i - \mu_i(x_{<i}))/\sigma_i(x_{<i})"
    )
    source = "Papamakarios et al. 2017; Kingma et al. 2016"
    assumptions = ("every conditional is Gaussian", "for the conversion: the joint density is Gaussian")

    def log_determinant(self, jacobian: Tensor) -> Tensor:
        """Return log |det J| of Jacobians (N, D, D) by LU, which does not know that they are triangular."""
        return torch.linalg.slogdet(jacobian).logabsdet

    def check(self, *, covariance: tuple[tuple[float, ...], ...] = ((1.4, 0.8), (0.8, 1.2))) -> Evidence:
        """Build the flow of a Gaussian, and compare its expected −log p with the entropy by quadrature.

        Args:
            covariance: Σ, positive definite.
        """
        sigma = torch.tensor(covariance, dtype=torch.float64)
        features = sigma.shape[0]
        entropy = 0.5 * (features * (1 + math.log(2 * math.pi)) + torch.logdet(sigma).item())
        flow = gaussian_maf(torch.zeros(features, dtype=torch.float64), sigma)
        x, weights = _gauss_hermite(sigma)
        nll = -(weights * flow.log_prob(x).value).sum().item()
        claims = [Claim("E[−log p_MAF(x)] = entropy of N(0, Σ)", nll, entropy, ROUNDING)]
        claims += self._flow_claims(flow, x[: ROWS * 4 : 4])
        left, right = self._conditional(flow, sigma)
        claims.append(Claim("E[x_2 | x_1 = 1] = Σ_21 / Σ_11", left, right, ROUNDING))
        return self.evidence(*claims, entropy=round(entropy, 6))

    @staticmethod
    def _conditional(flow: MAF, sigma: Tensor) -> tuple[float, float]:
        z = flow.to_noise(torch.eye(sigma.shape[0], dtype=sigma.dtype)[:1])
        z[:, 1:] = 0.0
        return flow.from_noise(z)[0, 1].item(), (sigma[1, 0] / sigma[0, 0]).item()

    def _flow_claims(self, program: MAF, x: Tensor) -> list[Claim]:
        """Compare log p with the brute-force Jacobian, look for entries above the diagonals, and invert."""
        z = program.to_noise(x)
        log_p = program.log_prob(x).value
        brute = _log_normal(z) + self.log_determinant(_jacobian(program.flow.transform(), x))
        above, rows = 0.0, x
        for step in program.flow.steps:
            transform = step(None)
            if isinstance(step, AutoregressiveStep):
                order = list(step.net.order)
                ordered = _jacobian(transform, rows)[:, order][:, :, order]
                above = max(above, torch.triu(ordered, diagonal=1).abs().max().item())
            rows = transform(rows).detach()
        back = program.from_noise(z)
        scale = ROUNDING * max(1.0, log_p.abs().max().item())
        return [
            Claim("log p(x) = log N(z) + log|det J|", log_p.mean().item(), brute.mean().item(), scale),
            Claim("entries of J above the diagonal", above, 0.0, 0.0),
            Claim("x → z → x (IAF inverts MAF)", (back - x).abs().max().item(), 0.0, 1e-6),
        ]

    def _made_claims(self, program: MADE, x: Tensor) -> list[Claim]:
        """Read μ and σ from the network, form z, and compare the flow's density with the program's."""

        def to_noise(rows: Tensor) -> Tensor:
            conditional = program.likelihood(program.net(rows).flatten(-2), program.event_shape)
            return (rows - conditional.mean) / conditional.variance.sqrt()

        jacobian = _jacobian(to_noise, x)
        order = list(program.net.order)
        above = torch.triu(jacobian[:, order][:, :, order], diagonal=1).abs().max().item()
        log_p = program.log_prob(x).value
        flow = _log_normal(to_noise(x)) + self.log_determinant(jacobian)
        scale = ROUNDING * max(1.0, log_p.abs().max().item())
        return [
            Claim(
                "Σ log p(x_i | x_<i) = log N(z) + log|det J|", log_p.mean().item(), flow.mean().item(), scale
            ),
            Claim("entries of J above the diagonal", above, 0.0, 0.0),
        ]

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Measure the identity, in float64, on each of the two programs; Gaussian ones by way of their conversion.

        Raises:
            UnsupportedQueryError: A program has a context, or conditionals that are not Gaussian.
        """
        claims: list[Claim] = []
        programs = [a] if b is a else [a, b]
        for program in programs:
            if program.context_features:
                raise self.refuse("an unconditional program", program)
            double = copy.deepcopy(program).double()
            x = data[:ROWS].to(double.device).double()
            if isinstance(double, MAF):
                claims += self._flow_claims(double, x)
            elif isinstance(double, MADE):
                if not isinstance(double.likelihood, Gaussian):
                    raise self.refuse(self.assumptions[0], program)
                claims += self._made_claims(double, x)
            else:
                same = self.convert(double, to="MAF")
                left, right = double.log_prob(x).value, same.log_prob(x).value
                scale = 1e-6 * max(1.0, left.abs().max().item())
                claims.append(
                    Claim(f"{program.name} = its MAF", left.mean().item(), right.mean().item(), scale)
                )
        return self.evidence(*claims, examples=min(ROWS, data.shape[0]))

    def convert(self, program: Program, *, to: str) -> Program:
        """Return the MAF that is equal to a Gaussian program (PPCA, FactorAnalysis).

        Raises:
            UnsupportedQueryError: The program is not Gaussian, or another family is asked for.
        """
        if to != "MAF":
            raise self.refuse("a conversion into MAF", program, got=f"to={to!r}")
        try:
            marginal = program.marginal()
            mean, covariance = marginal.mean, marginal.covariance_matrix  # pyright: ignore[reportAttributeAccessIssue]
        except (NoDensityError, AttributeError, NotImplementedError) as error:
            raise self.refuse(self.assumptions[1], program) from error
        converted = gaussian_maf(mean.detach(), covariance.detach())
        converted.fitted = program.fitted
        return converted


def _jacobian(function: object, x: Tensor) -> Tensor:
    """Return ∂z/∂x at each row, shape (N, D, D), by autograd."""
    return torch.stack([torch.autograd.functional.jacobian(lambda r: function(r[None])[0], row) for row in x])  # type: ignore[operator]


def _log_normal(z: Tensor) -> Tensor:
    return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)


def _gauss_hermite(sigma: Tensor, nodes: int = 20) -> tuple[Tensor, Tensor]:
    """Return nodes (n^D, D) and weights of a quadrature that is exact for polynomials under N(0, Σ)."""
    import numpy as np

    points, weights = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(nodes))
    features = sigma.shape[0]
    grid = torch.cartesian_prod(*[points] * features).reshape(-1, features)
    mass = torch.cartesian_prod(*[weights / weights.sum()] * features).reshape(-1, features).prod(-1)
    return grid @ torch.linalg.cholesky(sigma).T, mass
