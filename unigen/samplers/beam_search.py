"""Beam search: likely values of an autoregressive program, found greedily, several prefixes at a time.

    B_t = the w likeliest of { (b, k) : b ∈ B_{t−1}, k a value of x_t },   scored by log p(x_1 … x_t | c)

With w at least the number of all prefixes nothing is ever left out, and the first result is the mode of p; otherwise it
may be missed. Every score is the exact log-probability of its sequence.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from unigen.checks import check_context
from unigen.distributions.finite import finite_levels, log_table
from unigen.distributions.sequential import SequentialDistribution
from unigen.errors import ArgumentError
from unigen.program import Program
from unigen.queries import evaluating
from unigen.samplers.prompt import place_prompt, sequential
from unigen.samplers.sampler import Sampler


@final
class BeamSearch(Sampler):
    """Keep the ``width`` likeliest prefixes at every position; deterministic.

    As a sampler it gives the n best results, so ``program.sample(n, sampler=BeamSearch(w))`` wants n ≤ w.

    Args:
        width: w, prefixes kept.

    Raises:
        ArgumentError: w < 1.

    Example:
        >>> from unigen.models.transformer import Transformer
        >>> program = Transformer(length=4, vocabulary=3, width=8, heads=2, layers=1)
        >>> x, log_p = BeamSearch(5).search(program)
        >>> x.shape, torch.allclose(log_p, program.log_prob(x).value, atol=1e-5)
        (torch.Size([5, 4]), True)
    """

    def __init__(self, width: int = 8) -> None:
        if isinstance(width, bool) or not isinstance(width, int) or width < 1:
            raise ArgumentError(program="BeamSearch", site="width", got=width, expected="an integer ≥ 1")
        self.width = width

    def search(
        self, program: Program, prompt: object = None, context: object = None
    ) -> tuple[Tensor, Tensor]:
        """Return the likeliest results that begin with a prompt, best first, and their log-probabilities.

        Args:
            program: An autoregressive program whose values are finitely many.
            prompt: One prompt, as for ``Decoding.complete``; none if omitted.
            context: Shape (1, C) for a conditional program.

        Returns:
            Shape (w', *event_shape) and log p(x after the prompt | prompt, c) in nats, (w',), w' ≤ w.

        Raises:
            ArgumentError: Several prompts.
            UnsupportedQueryError: The program is not autoregressive, or its values are infinitely many.
            UnigenError: A prompt that does not fit; see ``Decoding.complete``.
        """
        event = program.event_shape
        empty = torch.zeros(0) if len(event) == 1 else torch.zeros(event[0], 0, event[2])
        x, known = place_prompt(program, empty if prompt is None else prompt)
        if x.shape[0] != 1:
            raise ArgumentError(
                program=program.name, site="prompt", got=f"{x.shape[0]} prompts", expected="one"
            )
        c = check_context(context, program.context_features, 1, program.dtype, program.name)
        c = None if c is None else c.to(program.device)
        with evaluating(program), torch.no_grad():
            best, log_p = self._extend(sequential(program, c), x, known)
        return best.reshape(-1, *event), log_p

    def draw(self, program: Program, n: int, context: Tensor | None = None) -> Tensor:
        """Return the n best results, shape (n, *event_shape).

        Raises:
            ArgumentError: n is more than the beam holds, or rows of the context differ.
            UnsupportedQueryError: As for ``search``.
        """
        if context is not None and not bool((context == context[:1]).all()):
            raise ArgumentError(
                "a beam has one context", program=program.name, hint="search(program, context=row) for each"
            )
        x, _ = self.search(program, None, None if context is None else context[:1])
        if x.shape[0] < n:
            raise ArgumentError(
                "the beam holds fewer", program=program.name, site="n", got=n, expected=f"≤ {x.shape[0]}"
            )
        return x[:n]

    def _extend(self, density: SequentialDistribution, x: Tensor, known: int) -> tuple[Tensor, Tensor]:
        low = (finite_levels(density.likelihood) or (0, 0))[0]  # log_table refuses what is not finite
        steps, log_p = density.net.steps(density.context), x.new_zeros(1)
        for t in range(known, len(density.net.order)):
            table = log_p[:, None] + log_table(density.likelihood, steps(density.code(x), t))
            log_p, index = table.flatten().topk(min(self.width, table.numel()))
            row, value = index // table.shape[1], index % table.shape[1]
            steps.select(row)
            x = x[row]
            x[:, density.net.order[t]] = (value + low).to(x.dtype)
        return x, log_p
