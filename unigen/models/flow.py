"""Normalizing flows on vectors: any stack of layers, and NICE, RealNVP, MAF, IAF and NSF by name.

    z = f(x | c),   p(x | c) = N(f(x | c); 0, I) |det ∂f/∂x|

Notation: x (N, D) data, z (N, D) noise, c (N, C) context. The arguments that all share: ``features`` D; ``context``
C; ``transforms`` the number of layers T; ``hidden`` the widths of each network's hidden layers; ``support``
``"real"``, ``"unit"`` for data in [0, 1], or a first layer such as ``Logit()``; ``objective`` what ``fit`` minimises.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch.distributions import Transform

from unigen.densities.flow import FlowProgram, naming
from unigen.distributions.layers import Autoregressive, Coupling, Inverse, Layer
from unigen.distributions.transforms import Additive, Affine, Spline
from unigen.objectives.likelihood import MaximumLikelihood
from unigen.objectives.objective import Objective


class Flow(FlowProgram):
    """A flow of one's own: f = f_T ∘ … ∘ f_1, one layer each, data side first.

    Args:
        features: D, or the shape (C, H, W) of an image.
        layers: ``Coupling``, ``Autoregressive``, ``Inverse``, ``LULinear``, ``Zuko`` … or torch transforms.
        context: C.
        support: As above; None leaves the first layer to ``layers``.
        objective: What ``fit`` minimises.

    References:
        Papamakarios et al., Normalizing flows for probabilistic modeling and inference, JMLR 2021.

    Example:
        >>> Flow(3, [Coupling(Affine()), Autoregressive(Spline(8))]).inverse_by[-1]
        'D small steps, together one pass'
    """

    def __init__(
        self, features: int | Sequence[int], layers: Sequence[Layer | Transform], *, context: int = 0,
        support: str | Layer | None = "real", objective: Objective = MaximumLikelihood(),
    ) -> None:  # fmt: skip
        super().__init__(features, layers, context=context, support=support, objective=objective)


class NICE(FlowProgram):
    """Additive couplings, z_b = x_b + t(x_a, c): no volume changes but in the first, elementwise layer.

    References:
        Dinh, Krueger & Bengio, NICE: non-linear independent components estimation, 2014.

    Example:
        >>> NICE(features=3).sample(2).shape
        torch.Size([2, 3])
    """

    def __init__(
        self, features: int, *, context: int = 0, transforms: int = 6, hidden: Sequence[int] = (128, 128),
        support: str | Layer = "real", objective: Objective = MaximumLikelihood(),
    ) -> None:  # fmt: skip
        layers = [Coupling(Additive(), hidden)] * transforms
        super().__init__(features, layers, context=context, support=support, objective=objective)


class RealNVP(FlowProgram):
    """Affine couplings: z_b = x_b exp(s(x_a, c)) + t(x_a, c), one pass each way; ``additive`` leaves s out.

    References:
        Dinh, Sohl-Dickstein & Bengio, Density estimation using Real NVP, ICLR 2017.

    Example:
        >>> RealNVP(features=3).kind
        <Kind.EXACT: 'exact'>
    """

    def __init__(
        self, features: int, *, context: int = 0, transforms: int = 6, hidden: Sequence[int] = (128, 128),
        support: str | Layer = "real", additive: bool = False, objective: Objective = MaximumLikelihood(),
    ) -> None:  # fmt: skip
        layers = [Coupling(Additive() if additive else Affine(), hidden)] * transforms
        super().__init__(features, layers, context=context, support=support, objective=objective)


class NSF(FlowProgram):
    """Monotone rational-quadratic splines with ``bins`` bins, in couplings or ``autoregressive``.

    References:
        Durkan, Bekasov, Murray & Papamakarios, Neural spline flows, NeurIPS 2019.

    Example:
        >>> NSF(features=3, context=2).sample(4, [[0.0, 1.0]]).shape
        torch.Size([4, 3])
    """

    def __init__(
        self, features: int, *, context: int = 0, transforms: int = 6, hidden: Sequence[int] = (128, 128),
        bins: int = 8, support: str | Layer = "real", autoregressive: bool = False,
        objective: Objective = MaximumLikelihood(),
    ) -> None:  # fmt: skip
        with naming("NSF"):
            layer = (Autoregressive if autoregressive else Coupling)(Spline(bins), hidden)
        super().__init__(
            features, [layer] * transforms, context=context, support=support, objective=objective
        )


class MAF(FlowProgram):
    """Masked affine autoregressions: z_i = x_i exp(s_i(x_{<i}, c)) + t_i(x_{<i}, c); draws take D small steps.

    With ``hidden=()`` every layer is an affine autoregression, a Gaussian.

    References:
        Papamakarios, Pavlakou & Murray, Masked autoregressive flow for density estimation, NeurIPS 2017.

    Example:
        >>> MAF(features=3).formula
        'p(x)'
    """

    def __init__(
        self, features: int, *, context: int = 0, transforms: int = 5, hidden: Sequence[int] = (128, 128),
        support: str | Layer = "real", objective: Objective = MaximumLikelihood(),
    ) -> None:  # fmt: skip
        layers = [Autoregressive(Affine(), hidden)] * transforms
        super().__init__(features, layers, context=context, support=support, objective=objective)


class IAF(FlowProgram):
    """Inverse autoregressions: x_i = z_i exp(s_i(z_{<i}, c)) + t_i(z_{<i}, c); draws in one pass, densities in D steps.

    References:
        Kingma et al., Improving variational inference with inverse autoregressive flow, NeurIPS 2016.

    Example:
        >>> IAF(features=3).inverse_by[-1]
        'one pass'
    """

    def __init__(
        self, features: int, *, context: int = 0, transforms: int = 5, hidden: Sequence[int] = (128, 128),
        support: str | Layer = "real", objective: Objective = MaximumLikelihood(),
    ) -> None:  # fmt: skip
        layers = [Inverse(Autoregressive(Affine(), hidden))] * transforms
        super().__init__(features, layers, context=context, support=support, objective=objective)
