"""Training a classifier on data with noise, at the levels of a diffusion or flow."""

from __future__ import annotations

import torch
from torch import Tensor

from unigen.dynamics.flow_denoiser import denoiser_behind
from unigen.dynamics.times import LowDiscrepancyTimes
from unigen.errors import ArgumentError, ShapeError
from unigen.nn.noisy_classifier import NoisyClassifier
from unigen.program import Program
from unigen.recipe import Cosine


def fit_noisy_classifier(
    classifier: NoisyClassifier,
    program: Program,
    x: object,
    labels: Tensor,
    *,
    steps: int = 2000,
    batch_size: int = 256,
    lr: float = 2e-3,
    seed: int | None = None,
) -> list[float]:
    """Train log p(y | z_t, t) on z_t = alpha u + sigma eps at uniform times, in place.

    minimise −E log p(y | alpha_t u + sigma_t eps, t),      u = (x − loc) / scale

    Args:
        classifier: What is trained.
        program: A fitted diffusion or flow, for its path and coordinates; a context of its own is not read.
        x: Data, (N, *event_shape).
        labels: Classes 0 … K − 1, (N,).
        steps: Steps of AdamW.
        batch_size: Examples a step.
        lr: Learning rate at the start; it falls to 0 along a cosine.
        seed: Reproduces the training without touching the global random state.

    Returns:
        The loss of every step, in nats an example.

    Raises:
        ShapeError: Not one label a row.
        ArgumentError: Labels or options out of range, or the program has no denoiser.
        UnigenError: Bad data.

    Example:
        >>> import unigen as ug
        >>> x = torch.randn(64, 2)
        >>> program, classifier = ug.Diffusion(2, hidden=8, blocks=1), NoisyClassifier(2, classes=2, hidden=8)
        >>> len(fit_noisy_classifier(classifier, program, x, (x[:, 0] > 0).long(), steps=3, seed=0))
        3
    """
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ArgumentError(
                program="NoisyClassifier", argument=name, got=value, expected="a positive integer"
            )
    denoiser = denoiser_behind(program)
    rows, y = _checked(classifier, program, x, labels)
    classifier.to(rows)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=lr)
    scheduler, losses, times = Cosine()(optimizer, steps), [], LowDiscrepancyTimes()
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        for _ in range(steps):
            pick = torch.randint(0, rows.shape[0], (batch_size,), device=rows.device)
            with torch.no_grad():
                u = denoiser.to_unit(rows[pick])
                t = denoiser.at(times.draw(u))
                z = denoiser.perturb(u, t, torch.randn_like(u))
            loss = torch.nn.functional.cross_entropy(classifier.logits(z, t), y[pick])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            losses.append(float(loss.detach()))
    return losses


def _checked(
    classifier: NoisyClassifier, program: Program, x: object, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Data and labels as tensors.

    Raises:
        ShapeError, ArgumentError: The labels are not one a row, or out of range.
    """
    dummy = program._dummy_context(1)
    rows, _ = program.check_batch(x, dummy)
    y = torch.as_tensor(labels)
    if y.dim() != 1 or y.shape[0] != rows.shape[0]:
        raise ShapeError(
            program="NoisyClassifier",
            site="labels",
            got=tuple(y.shape),
            expected=f"({rows.shape[0]},), one a row",
        )
    if y.is_floating_point() or bool((y < 0).any()) or bool((y >= classifier.classes).any()):
        raise ArgumentError(
            program="NoisyClassifier", argument="labels", got=f"{y.dtype} from {y.min()} to {y.max()}",
            expected=f"integers from 0 to {classifier.classes - 1}",
        )  # fmt: skip
    return rows, y.long().to(rows.device)
