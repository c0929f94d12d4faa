"""Partly labelled rows: a class, any conditional program of the features given it, and a classifier as the guide.

    p(x, y) = π_y p(x | y),        q(y | x) a network, or Bayes' rule p(y | x) ∝ π_y p(x | y)

Notation: x (N, D) features, y in 0 … K − 1; a row is (x, label) with NaN where the label is missing: y is observed in
some rows and latent in the others. With a conditional VAE as p(x | y) this is the M2 model; with a flow, p(y | x) is
exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from unigen.checks import as_tensor, check_data
from unigen.densities.labelled_bound import LabelledBound
from unigen.distributions.with_label import IMPOSSIBLE, WithLabel, one_hot
from unigen.errors import ArgumentError, ShapeError
from unigen.logprob import Kind
from unigen.nn.mlp import MLP
from unigen.objectives.objective import Objective
from unigen.objectives.semi_supervised import SemiSupervised
from unigen.program import Program


class Labelled(Program):
    """p(x, y) = π_y p(x | y) over rows of D features and a label, which may be missing.

    Args:
        program: p(x | y): any program with event shape (D,), a density or a bound, and ``context=K``, one number a
            class: ``VAE(D, context=K)``, ``NSF(D, context=K)``, ``MADE(D, …, context=K)``.
        hidden: Widths of the classifier's hidden layers.
        classifier: Network x → (N, K) logits of q(y | x), replacing the perceptron; ``"bayes"`` for Bayes' rule,
            which needs an exact density.
        objective: What ``fit`` minimises.

    Raises:
        ArgumentError: The program has no context, or Bayes' rule without an exact density.
        ShapeError: The program's examples are not vectors.

    References:
        Kingma, Rezende, Mohamed & Welling, Semi-supervised learning with deep generative models, NeurIPS 2014.

    Example:
        >>> from unigen.models.vae import VAE
        >>> m2 = Labelled(VAE(4, 2, context=3))
        >>> print(m2.formula)
        p(x, y) = p_VAE(x | y) p(y);  q(y | x)
        >>> m2.rows(torch.zeros(2, 4), torch.tensor([2, -1]))[:, -1]
        tensor([2., nan])
    """

    def __init__(
        self, program: Program, *, hidden: Sequence[int] = (256,), classifier: nn.Module | str | None = None,
        objective: Objective = SemiSupervised(),
    ) -> None:  # fmt: skip
        classes, shape, bayes = program.context_features, program.event_shape, classifier == "bayes"
        if classes < 2 or (isinstance(classifier, str) and not bayes):
            raise ArgumentError(
                program="Labelled", got=f"{program.name} with context={classes}, classifier={classifier!r}",
                expected="a program with context=K ≥ 2 classes; a network or 'bayes'",
                hint=f"{program.name}(…, context=10)",
            )  # fmt: skip
        if len(shape) != 1:
            raise ShapeError(program="Labelled", got=tuple(shape), expected="a program of vectors, (D,)")
        if bayes and program.kind is not Kind.EXACT:
            raise ArgumentError(
                "Bayes' rule needs an exact density", program="Labelled", got=f"{program.name} of kind {program.kind}",
                hint="classifier=None, a network",
            )  # fmt: skip
        density = LabelledBound(Kind.EXACT if bayes else Kind.LOWER_BOUND + program.kind)
        super().__init__((shape[0] + 1,), objective=objective, density=density)
        self.conditional, self.classes, self.bayes = program, classes, bayes
        self.logits = nn.Parameter(torch.zeros(classes))
        if not bayes:
            given = classifier if isinstance(classifier, nn.Module) else None
            self.classifier = MLP(shape[0], classes, hidden=hidden) if given is None else given

    def rows(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return (N, D + 1): features and labels, NaN where ``labels`` are None, negative or NaN."""
        y = torch.full((x.shape[0],), math.nan) if labels is None else labels.to(x.dtype)
        y = torch.where(y < 0, math.nan, y)
        return torch.cat((x, y.to(device=x.device, dtype=x.dtype)[:, None]), 1)

    def joint(self, x: Tensor, surrogate: bool = False) -> Tensor:
        """Return log p(x | y) + log π_y for every class, shape (N, K), of rows (N, D + 1); labels are not read."""
        n, k = x.shape[0], self.classes
        features = x[:, None, :-1].expand(n, k, -1).reshape(n * k, -1)
        y = torch.eye(k, dtype=x.dtype, device=x.device).expand(n, k, k).reshape(n * k, k)
        program = self.conditional
        score = program.surrogate(features, y) if surrogate else program.density_of(features, y).value
        return score.reshape(n, k) + self.logits.log_softmax(-1)

    def log_posterior(self, x: Tensor, joint: Tensor | None = None) -> Tensor:
        """Return log q(y | x, label), shape (N, K), of rows (N, D + 1): 0 at a label that is given."""
        joint = self.joint(x) if self.bayes and joint is None else joint
        free = joint if self.bayes and joint is not None else self.classifier(x[:, :-1])
        known = (1 - one_hot(x[:, -1], self.classes, x.dtype)) * IMPOSSIBLE
        return torch.where(x[:, -1:].isnan(), free.log_softmax(-1), known)

    def classify(self, x: object) -> Tensor:
        """Return q(y | x), shape (N, K), of features (N, D) alone."""
        p = self.conditional
        features = check_data(as_tensor(x, self.name), p.event_shape, p.support, self.dtype, self.name)
        with torch.no_grad():
            return self.log_posterior(self.rows(features.to(self.device))).exp()

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x, y)."""
        with self.plate(x, n):
            y = pyro.sample("y", dist.Categorical(logits=self.logits))
            return pyro.sample("x", WithLabel(self.conditional, y), obs=x)

    def guide(self, x: Tensor) -> Tensor:
        """Declare q(y | x): the label where it is given."""
        with self.plate(x):
            return pyro.sample("y", dist.Categorical(logits=self.log_posterior(x)))

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Start the program at the features, and π at the frequencies of the labels, one more of each."""
        known = one_hot(x[:, -1], self.classes, x.dtype)
        share = (known + known.sum(1, keepdim=True).eq(0) / self.classes).detach()
        self.conditional.initialise(x[:, :-1], share)
        self.logits.copy_((known.sum(0) + 1).log())
