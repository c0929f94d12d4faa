"""The tables of the composition matrix on the guide's page, from the parts that its test walks through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.distributions import kl_divergence

from unigen.distributions.conditional import part_name
from unigen.distributions.standard import StandardNormal, as_distribution
from unigen.distributions.wrappers import kind_of
from unigen.models.vae import VAE
from unigen.study.composition import DECODERS, LATENTS, POSTERIORS, PRIORS, cell, cells

Row = Sequence[str]


def markdown(head: Row, rows: Iterator[Row] | list[Row]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ("---",) * len(head), *rows))


def prior_of(vae: VAE) -> str:
    """Return the kind of log p(z)."""
    return "exact" if hasattr(vae.prior, "bind") else str(kind_of(as_distribution(vae.prior)))


def matrix() -> Iterator[Row]:
    """Yield a row a prior: its part, the kind of log p(z), and that of log_prob under each decoder."""
    for prior in PRIORS:
        found = [str(cell(prior, "mean-field", decoder).kind) for decoder in DECODERS]
        vae = cell(prior, "mean-field", "Gaussian")
        yield f"**{prior}**", f"`{part_name(vae.prior)}`", prior_of(vae), *found


def posteriors() -> Iterator[Row]:
    """Yield a row a posterior: its part, what the encoder gives, its divergence from N(0, I), its gradient."""
    for name in POSTERIORS:
        vae = cell("Gaussian", name, "Gaussian")
        q = vae.amortised.example()
        try:
            kl_divergence(q, StandardNormal(LATENTS)())
            divergence = "closed form"
        except NotImplementedError:
            divergence = "Monte Carlo"
        width = vae.encoder.get_parameter("layers.2.bias").shape[0]
        gradient = "through the draws" if q.has_rsample else "score function"
        yield f"**{name}**", f"`{vae.amortised.name}`", str(width), divergence, gradient


def decoders() -> Iterator[Row]:
    """Yield a row a decoder: its part, the factor in the formula, the support of x."""
    for name in DECODERS:
        vae = cell("Gaussian", "mean-field", name)
        factor = vae.formula.split(" = ")[1].split(") ")[0] + ")"
        support = str(vae.support).removeprefix("IndependentConstraint(").removesuffix(", 1)")
        yield (
            f"**{name}**",
            f"`{vae.conditional.name}`",
            "`" + factor.replace("|", r"\|") + "`",
            f"`{support}`",
        )


def composition_tables() -> dict[str, str]:
    """Return the substitutions of the guide's page."""
    with torch.random.fork_rng(devices=[]):
        return {
            "cells": str(len(list(cells()))),
            "composition_matrix": markdown(
                ("prior", "part", "log p(z)", *(f"{d} decoder" for d in DECODERS)), matrix()
            ),
            "composition_posteriors": markdown(
                ("posterior", "part", f"numbers for L = {LATENTS}", "KL to N(0, I)", "gradient"),
                posteriors(),
            ),
            "composition_decoders": markdown(("decoder", "part", "factor", "x in"), decoders()),
        }
