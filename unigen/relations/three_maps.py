r"""Three maps from noise to the same distribution: a flow's, the optimal transport's, a generator's.

Notation: z ~ N(0, I), x = T(z) ~ N(0, Σ). Every T = A z with A Aᵀ = Σ has KL 0; what differs is the transport cost

    E‖T(z) − z‖² = tr Σ + d − 2 tr A,

which Brenier's map, the gradient of a convex function, makes least: A = Σ^{½}. A masked flow is triangular, A = L with
Σ = L Lᵀ; a generator may be any A = Σ^{½} R, R a rotation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from unigen.models.flow import MAF
from unigen.models.gan import GAN
from unigen.nn.mlp import MLP
from unigen.program import Program
from unigen.queries import seeded
from unigen.relations.evidence import Claim, Evidence
from unigen.relations.flow_autoregressive import FlowAutoregressive
from unigen.relations.relation import Relation

ROUNDING = 1e-9  # of float64 linear algebra in a few dimensions
ROWS = 400  # of noise, on programs
Map = Callable[[Tensor], Tensor]


class ThreeMaps(Relation):
    """A flow, a transport map and a generator carry the same noise to the same distribution, at different costs."""

    id = 17
    name = "MAF – OT – GAN generator"
    families = ("MAF", "GAN")
    statement = "maps of the same noise to the same distribution have KL 0 each, and only Brenier's has the least cost"
    latex = r"\mathbb{E}\|T(z) - z\|^2 = \mathrm{tr}\,\Sigma + d - 2\,\mathrm{tr}\,A \ge W_2^2, \quad A A^\top = \Sigma"
    source = "Brenier 1991; Dowson & Landau 1982"
    assumptions = ("for programs: as many latents as features, N(0, I) as the noise, no context",)

    def check(
        self, *, covariance: Sequence[Sequence[float]] = ((1.4, 0.8), (0.8, 1.2)), angle: float = 1.0
    ) -> Evidence:
        """Write N(0, Σ) as an affine MAF, as Brenier's map and as a generator, and compare laws and costs.

        Args:
            covariance: Σ, positive definite.
            angle: Radians by which the generator turns the first two latents.
        """
        c = torch.tensor(covariance, dtype=torch.float64)
        d, root = c.shape[0], self.root(c)
        claims, costs = [], {}
        for name, push in self.maps(c, angle).items():
            eye = torch.eye(d, dtype=torch.float64)
            with torch.no_grad():
                a = (push(eye) - push(torch.zeros_like(eye))).mT  # the maps are affine
            costs[name] = float((a - eye).square().sum())
            claims.append(
                Claim(f"KL of the {name}'s law from N(0, Σ)", _divergence(a @ a.T, c), 0.0, ROUNDING)
            )
            closed = float(torch.trace(c)) + d - 2 * float(torch.trace(a))
            claims.append(Claim(f"cost of the {name} = tr Σ + d − 2 tr A", costs[name], closed, ROUNDING))
            if name == "Brenier's map":
                claims.append(Claim("asymmetry of its Jacobian", float((a - a.T).abs().max()), 0.0, ROUNDING))
        bures = float(torch.trace(c)) + d - 2 * float(torch.trace(root))
        claims.append(Claim("cost of Brenier's map = W₂²", costs["Brenier's map"], bures, ROUNDING))
        claims += [
            Claim(f"cost of the {name} ≥ W₂²", cost, bures, ROUNDING, sense="≥")
            for name, cost in costs.items()
        ]
        return self.evidence(
            *claims, **{f"cost of the {name}": round(cost, 6) for name, cost in costs.items()}
        )

    def root(self, c: Tensor) -> Tensor:
        """Return Σ^{½}, symmetric."""
        values, vectors = torch.linalg.eigh(c)
        return vectors * values.sqrt() @ vectors.mT

    def maps(self, c: Tensor, angle: float) -> dict[str, Map]:
        """Return the three maps, of rows of noise (N, d) to rows of data."""
        d, root = c.shape[0], self.root(c)
        maf = FlowAutoregressive().maf_of(torch.zeros(d, dtype=torch.float64), c)
        turned = torch.eye(d, dtype=torch.float64)
        if d > 1:
            cos, sin = math.cos(angle), math.sin(angle)
            turned[:2, :2] = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
        net = MLP(d, d, hidden=()).double()
        with torch.no_grad():
            net.layers[0].get_parameter("weight").copy_(root @ turned)
            net.layers[0].get_parameter("bias").zero_()
        gan = GAN(d, d, generator=net).double()
        return {"MAF": maf.from_noise, "Brenier's map": lambda z: z @ root, "generator": gan.generator}

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Carry the same noise by both programs: each pairing costs at least the optimal assignment of its two ends.

        Raises:
            UnsupportedQueryError: A conditional program, or a generator with other than as many latents as features.
        """
        if not isinstance(a, MAF) or not isinstance(b, GAN) or b.latents != b.event_shape.numel():
            raise self.refuse(self.assumptions[0], b)
        if a.context_features or b.context_features or a.event_shape != b.event_shape:
            raise self.refuse("unconditional programs of the same events", a)
        with seeded(0, a.device):
            z = torch.randn(ROWS, a.event_shape.numel(), device=a.device, dtype=a.dtype)
        claims, details = [], {}
        with torch.no_grad():
            for program, x in ((a, a.from_noise(z)), (b, b.decode(z))):
                cost = float((x - z).double().square().sum(1).mean())
                least = assignment_cost(z, x)
                claims.append(
                    Claim(
                        f"cost of the {program.name} ≥ optimal assignment",
                        cost,
                        least,
                        1e-4 * cost,
                        sense="≥",
                    )
                )
                details[program.name] = f"cost {cost:.4f}, of which {least:.4f} is needed"
        return self.evidence(*claims, rows=ROWS, **details)


def assignment_cost(x: Tensor, y: Tensor) -> float:
    """Return min over permutations of the mean of ‖x_i − y_π(i)‖², exactly; both of shape (N, D)."""
    from scipy.optimize import linear_sum_assignment

    cost = torch.cdist(x.double(), y.double()).square().cpu().numpy()
    rows, columns = linear_sum_assignment(cost)
    return float(np.mean(cost[rows, columns]))


def _divergence(a: Tensor, c: Tensor) -> float:
    """KL(N(0, a) ‖ N(0, c)), nats."""
    return 0.5 * float(torch.trace(torch.linalg.solve(c, a)) - a.shape[0] + torch.logdet(c) - torch.logdet(a))
