r"""Masked affine flows and Gaussian autoregressions: one density, read as a change of variables or as a product.

Notation: order 1 … D, conditionals x_i | x_{<i} ~ N(μ_i(x_{<i}), σ_i(x_{<i})²). With z_i = (x_i − μ_i)/σ_i their
product is N(z; 0, I) |det ∂z/∂x|, the Jacobian being triangular with diagonal 1/σ_i. The inverse map
x_i = μ_i(x_{<i}) + σ_i(x_{<i}) z_i draws; as the map of a density it is the inverse autoregressive flow (IAF).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from unigen.distributions.conditioners import MaskedConditioner
from unigen.distributions.flow import FlowDistribution
from unigen.distributions.flow_steps import AutoregressiveStep, ElementwiseStep
from unigen.distributions.likelihoods import Gaussian
from unigen.distributions.scales import raw_scale
from unigen.distributions.transforms import Affine
from unigen.models.flow import MAF
from unigen.models.made import MADE
from unigen.plots.warp import plane_grid, warp_figure
from unigen.program import Program
from unigen.relations.evidence import Claim, Evidence
from unigen.relations.relation import Relation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROUNDING = 1e-9  # of float64 sums and determinants of some hundred terms of order one
ROWS = 16  # rows on which Jacobians are taken by brute force

Map = Callable[[Tensor], Tensor]


class FlowAutoregressive(Relation):
    """A masked affine flow is a Gaussian autoregression; its Jacobian is triangular; its inverse is an IAF."""

    id = 16
    name = "flow – autoregressive"
    families = ("MAF", "MADE")
    statement = (
        "a masked affine step is a Gaussian autoregression, with a triangular Jacobian; IAF is its inverse"
    )
    latex = r"\prod_i \mathcal N(x_i; \mu_i(x_{<i}), \sigma_i^2(x_{<i})) = \mathcal N(f(x); 0, I)\,|\det \partial f|"
    source = "Papamakarios et al. 2017; Kingma et al. 2016"
    assumptions = (
        "the conditionals are Gaussian",
        "for a conversion: the autoregression is affine with constant scales (hidden=()), hence Gaussian",
    )
    converts = (
        ("MAF", "MADE"), ("MADE", "MAF"), ("PPCA", "MAF"), ("PPCA", "MADE"), ("FactorAnalysis", "MAF"),
        ("FactorAnalysis", "MADE"),
    )  # fmt: skip

    def check(self, *, covariance: Sequence[Sequence[float]] = ((1.4, 0.8), (0.8, 1.2))) -> Evidence:
        """Write N(m, Σ), m_i = i, as a flow and as an autoregression, and compare both with the Gaussian.

        Args:
            covariance: Σ, positive definite.
        """
        c = torch.tensor(covariance, dtype=torch.float64)
        d = c.shape[0]
        mean = torch.arange(1.0, d + 1, dtype=torch.float64)
        maf = self.maf_of(mean, c)
        made = self.convert(maf, to="MADE")
        assert isinstance(made, MADE)
        lower = torch.linalg.cholesky(c)
        z, weight = _hermite(d)
        x = mean + z @ lower.T  # E over N(m, Σ) is a finite sum, exact for the quadratic log p
        entropy = 0.5 * float(torch.logdet(2 * math.pi * math.e * c))
        value, product_of = maf.log_prob(x).value, made.log_prob(x).value
        drawn = maf.from_noise(z)
        iaf = FlowDistribution(maf.flow.transform().inv, maf.marginal().base).log_prob(z)
        inverse = torch.linalg.inv(lower)
        expected = MultivariateNormal(-inverse @ mean, inverse @ inverse.T).log_prob(z)
        return self.evidence(
            Claim("E[−log p] of the flow = entropy of N(m, Σ)", -float(weight @ value), entropy, ROUNDING),
            Claim(
                "log p of the flow = Σ log N(x_i; μ_i, σ_i²), worst", _worst(value, product_of), 0.0, ROUNDING
            ),
            Claim("inverse of the flow = Cholesky's map m + Lz, worst", _worst(drawn, x), 0.0, ROUNDING),
            Claim(
                "the inverse as a flow (IAF) = N(−L⁻¹m, L⁻¹L⁻ᵀ), worst log p",
                _worst(iaf, expected),
                0.0,
                ROUNDING,
            ),
            *self._triangular("flow", *self.steps(maf)[-1], x),
            nll=round(entropy, 6),
        )

    def figure(self, *, covariance: Sequence[Sequence[float]] = ((1.4, 0.8), (0.8, 1.2))) -> Figure:
        """Draw noise with a grid, and what the autoregressive map makes of it: vertical lines stay vertical."""
        c = torch.tensor(covariance, dtype=torch.float64)
        maf, grid = self.maf_of(torch.zeros(2, dtype=torch.float64), c), torch.from_numpy(plane_grid())
        noise = torch.randn(300, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        images = maf.from_noise(grid.flatten(0, 1)).reshape(grid.shape), maf.from_noise(noise)
        panels = {"noise z": (grid, noise), "data: x_1 from z_1, x_2 from both": images}
        return warp_figure(panels, ["z_1", "x_1"])

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Take each program apart: every step triangular, and the product of its conditionals equal to its log p.

        Raises:
            UnsupportedQueryError: A conditional program, or one with other than Gaussian conditionals.
        """
        claims: list[Claim] = []
        for program in (a,) if a is b or family_of(a) == family_of(b) else (a, b):
            if program.context_features or not isinstance(program, (MAF, MADE)):
                raise self.refuse("an unconditional MAF or MADE", program)
            own = copy.deepcopy(program).double()
            x = own.check_batch(data[:ROWS])[0]
            value, total = own.log_prob(x).value, torch.zeros(x.shape[0], dtype=torch.float64)
            for k, (f, order) in enumerate(self.steps(own)):
                claims += self._triangular(f"{own.name}, step {k + 1}", f, order, x)
                total += self.log_det(f, x)
                x = f(x)
            total += -0.5 * x.square().sum(-1) - 0.5 * x.shape[1] * math.log(2 * math.pi)
            claims.append(
                Claim(f"log p of {own.name} = the steps' Jacobians by brute force, worst", _worst(value, total), 0.0,
                      ROUNDING * x.shape[1])
            )  # fmt: skip
        return self.evidence(*claims, rows=min(ROWS, data.shape[0]))

    def convert(self, program: Program, *, to: str) -> Program:
        """Return the one-step MAF, or the MADE, equal to a program with a Gaussian density.

        Besides MAF and MADE any program whose marginal has a ``covariance_matrix`` (PPCA, factor analysis) will do.

        Raises:
            UnsupportedQueryError: The density is not Gaussian, or a scale falls below the floor of MADE's.
        """
        if to not in self.families:
            return super().convert(program, to=to)
        mean, covariance = self.moments(program)
        if to == "MAF":
            converted: Program = self.maf_of(mean, covariance)
        else:
            converted = self.made_of(mean, covariance)
        converted.fitted = program.fitted
        return converted.to(program.device, program.dtype)

    # -- the two readings ----------------------------------------------------------------------------------

    def steps(self, program: Program) -> list[tuple[Map, tuple[int, ...]]]:
        """Return the maps x → z whose composition is the program, each with the order in which it is triangular."""
        d = program.event_shape[0]
        if isinstance(program, MADE):
            if not isinstance(program.net, MaskedConditioner):
                raise self.refuse("a MADE of one order (several make a mixture, no single flow)", program)
            return [(self._standardised(program), program.net.order)]
        assert isinstance(program, MAF)
        found: list[tuple[Map, tuple[int, ...]]] = []
        for step in program.flow.steps:
            order = step.net.order if isinstance(step, AutoregressiveStep) else tuple(range(d))
            found.append((step(None), order))
        return found

    def _standardised(self, made: MADE) -> Map:
        if not isinstance(made.likelihood, Gaussian):
            raise self.refuse(
                self.assumptions[0], made, hint="MADE(features, likelihood=Gaussian('network'))"
            )

        def f(x: Tensor) -> Tensor:
            conditional = made.likelihood.elementwise(made.net(x), made.event_shape)
            return (x - conditional.mean) / conditional.stddev

        return f

    def log_det(self, f: Map, x: Tensor) -> Tensor:
        """Return log |det ∂f/∂x| of each row from the full Jacobian, shape (N,)."""
        return torch.linalg.slogdet(_jacobian(f, x))[1]

    def _triangular(self, name: str, f: Map, order: Sequence[int], x: Tensor) -> list[Claim]:
        """Claim that ∂z_i/∂x_j = 0 for j after i, and that the determinant is the product of the diagonal."""
        j = _jacobian(f, x)[:, list(order)][:, :, list(order)]
        above = float(torch.triu(j, diagonal=1).abs().max())
        diagonal = j.diagonal(dim1=1, dim2=2).log().sum(-1)
        return [
            Claim(f"{name}: largest |∂z_i/∂x_j|, j after i", above, 0.0, 0.0),
            Claim(f"{name}: log det = Σ log ∂z_i/∂x_i, worst", _worst(self.log_det(f, x), diagonal), 0.0,
                  ROUNDING * x.shape[1]),
        ]  # fmt: skip

    # -- conversions ---------------------------------------------------------------------------------------

    @torch.no_grad()
    def moments(self, program: Program) -> tuple[Tensor, Tensor]:
        """Return mean and covariance of a program with a Gaussian density, float64.

        Raises:
            UnsupportedQueryError: The density is not Gaussian.
        """
        own = copy.deepcopy(program).double()
        if not isinstance(own, (MAF, MADE)):
            p: Any = own.marginal() if own.has_marginal else None
            if p is None or not hasattr(p, "covariance_matrix"):
                raise self.refuse("a Gaussian density", program)
            return p.mean.detach(), p.covariance_matrix.detach()
        d = own.event_shape[0]
        zero, probe = (
            torch.zeros(1, d, dtype=torch.float64),
            torch.linspace(-2, 2, 3 * d).double().reshape(3, d),
        )
        if own.context_features or not bool(own.support.check(probe).all()):
            raise self.refuse("an unconditional program on the reals", program)
        out, at = zero, probe
        for f, _ in self.steps(own):
            out, at = f(out), f(at)
        basis = torch.eye(d, dtype=torch.float64)
        for f, _ in self.steps(own):
            basis = f(basis)
        a = (basis - out).T  # z = Ax + b if affine
        if _worst(at, probe @ a.T + out) > ROUNDING * (1 + float(at.abs().max())):
            raise self.refuse(self.assumptions[1], program)
        b = out[0]
        return -torch.linalg.solve(a, b), torch.linalg.inv(a.T @ a)

    @torch.no_grad()
    def maf_of(self, mean: Tensor, covariance: Tensor) -> MAF:
        """Return the one-step MAF with density N(mean, covariance), float64."""
        sd = covariance.diagonal().sqrt()
        white = torch.linalg.inv(torch.linalg.cholesky(covariance / torch.outer(sd, sd)))
        maf = MAF(mean.shape[0], transforms=1, hidden=()).double()
        first, step = maf.flow.steps
        assert isinstance(first, ElementwiseStep) and isinstance(step, AutoregressiveStep)
        first.phi.copy_(torch.stack((-mean / sd, Affine.unclip(-sd.log())), -1))
        raw = torch.stack((torch.zeros_like(sd), Affine.unclip(white.diagonal().log())), -1)
        _write_affine(step.net, torch.tril(white, -1), raw)
        return maf

    @torch.no_grad()
    def made_of(self, mean: Tensor, covariance: Tensor) -> MADE:
        """Return the affine MADE with density N(mean, covariance), float64.

        Raises:
            UnsupportedQueryError: A conditional scale falls below the floor.
        """
        white = torch.linalg.inv(torch.linalg.cholesky(covariance))
        sigma = 1 / white.diagonal()
        made = MADE(mean.shape[0], hidden=()).double()
        assert isinstance(made.likelihood, Gaussian)
        if float(sigma.min()) < 1.01 * made.likelihood.floor:
            raise self.refuse(
                "conditional scales above the floor of the likelihood", hint="data on a larger scale"
            )
        made.net.centre.copy_(mean)
        raw = torch.stack((mean, raw_scale(sigma, made.likelihood.floor)), -1)
        _write_affine(made.net, -torch.tril(white, -1) * sigma[:, None], raw)
        return made


def family_of(program: Program) -> type:
    """Return MAF or MADE, whichever the program is, else its own class."""
    return next((family for family in (MAF, MADE) if isinstance(program, family)), type(program))


def _write_affine(net: MaskedConditioner, slopes: Tensor, constants: Tensor) -> None:
    """Set the first parameter of feature i to Σ_j slopes_ij x_j + constants_i0, the second to constants_i1."""
    if net.net is None:
        net.constant.copy_(constants[0])
        return
    layer = net.net[-1]
    weight = torch.zeros(*constants.shape, slopes.shape[1], dtype=slopes.dtype)
    weight[:, 0] = slopes
    layer.get_parameter("weight").copy_(weight.flatten(0, 1))
    layer.get_parameter("bias").copy_(constants.flatten())


def _jacobian(f: Map, x: Tensor) -> Tensor:
    """Return ∂f/∂x of each row, shape (N, D, D)."""
    return torch.stack([torch.autograd.functional.jacobian(lambda v: f(v[None])[0], row) for row in x])


def _worst(a: Tensor, b: Tensor) -> float:
    return float((a - b).detach().abs().max())


def _hermite(d: int, order: int = 3) -> tuple[Tensor, Tensor]:
    """Return nodes (order^d, d) and weights of E over N(0, I), exact for polynomials of degree 2 · order − 1."""
    t, w = np.polynomial.hermite_e.hermegauss(order)
    nodes = torch.tensor(list(product(t, repeat=d)), dtype=torch.float64)
    weights = torch.tensor(list(product(w / w.sum(), repeat=d)), dtype=torch.float64).prod(-1)
    return nodes, weights
