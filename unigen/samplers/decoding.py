"""Decoding: draws from an autoregressive program, sharpened, cut to its likelier values, and from a prompt on.

    p'(x_t | x_<t) ∝ 1{x_t kept} p(x_t | x_<t)^(1/temperature)

kept are the ``top_k`` likeliest values, and of those, at the given temperature, the fewest likeliest whose
probabilities reach ``top_p``. Each conditional is changed and normalised by itself, so the draws are those of another
joint distribution than p^(1/temperature), and of p itself only with the defaults.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from unigen.checks import check_context
from unigen.distributions.sequential import Warp
from unigen.errors import ArgumentError
from unigen.program import Program
from unigen.queries import evaluating, seeded
from unigen.samplers.prompt import place_prompt, sequential
from unigen.samplers.sampler import Sampler


@final
class Decoding(Sampler):
    """Draw value after value from the changed conditionals of a program such as ``Transformer`` or ``PixelCNN``.

    Args:
        temperature: > 0; less than 1 sharpens, more flattens. The limit 0, greedy decoding, is ``top_k=1``.
        top_k: Keep the k likeliest values (and any that ties with the last of them); all if None.
        top_p: Keep the fewest likeliest values whose probabilities sum to at least this, in (0, 1]; all if 1.
        cache: Keep what the network has computed for earlier values; without, the same draws take longer.

    Raises:
        ArgumentError: A setting out of range.

    References:
        Holtzman et al., The curious case of neural text degeneration, ICLR 2020; Fan et al., Hierarchical neural story
        generation, ACL 2018.

    Example:
        >>> from unigen.models.transformer import Transformer
        >>> program = Transformer(length=6, vocabulary=3, width=8, heads=2, layers=1)
        >>> Decoding(temperature=0.8, top_k=2).complete(program, [0, 1], n=3, seed=0).shape
        torch.Size([3, 6])
    """

    def __init__(
        self,
        temperature: float = 1.0,
        *,
        top_k: int | None = None,
        top_p: float = 1.0,
        cache: bool = True,
    ) -> None:
        if not 0 < temperature < math.inf:
            raise ArgumentError(
                program="Decoding", site="temperature", got=temperature, expected="> 0",
                hint="top_k=1 for greedy decoding",
            )  # fmt: skip
        if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
            raise ArgumentError(
                program="Decoding", site="top_k", got=top_k, expected="an integer ≥ 1 or None"
            )
        if not 0 < top_p <= 1:
            raise ArgumentError(program="Decoding", site="top_p", got=top_p, expected="in (0, 1]")
        self.temperature, self.top_k, self.top_p, self.cache = temperature, top_k, top_p, cache

    @property
    def changes(self) -> bool:
        """Whether draws are of another distribution than the program's."""
        return self.temperature != 1 or self.top_k is not None or self.top_p < 1

    def warp(self, table: Tensor) -> Tensor:
        """Return changed log-probabilities, unnormalised, −∞ for values that are left out.

        Args:
            table: Log-probabilities, shape (..., K).
        """
        best = table.amax(-1, keepdim=True)
        # relative to the best, in float64: a temperature near 0 then overflows to −∞ nowhere but below the best
        warped = ((table - best).double() / self.temperature).to(table.dtype)
        if self.top_k is not None and self.top_k < table.shape[-1]:
            least = table.topk(self.top_k, -1).values[..., -1:]
            warped = warped.masked_fill(table < least, -math.inf)
        if self.top_p < 1:
            p, order = torch.sort(warped.softmax(-1), stable=True, dim=-1, descending=True)
            spare = p.cumsum(-1) - p >= self.top_p  # what comes before already reaches top_p
            warped = warped.masked_fill(torch.zeros_like(spare).scatter(-1, order, spare), -math.inf)
        return warped

    def draw(self, program: Program, n: int, context: Tensor | None = None) -> Tensor:
        """Return n draws, shape (n, *event_shape).

        Raises:
            UnsupportedQueryError: The program is not autoregressive, or continuous conditionals shall change.
        """
        x = torch.zeros(n, math.prod(program.event_shape), dtype=program.dtype, device=program.device)
        return self._run(program, x, 0, context)

    def complete(
        self,
        program: Program,
        prompt: object,
        context: object = None,
        *,
        n: int = 1,
        seed: int | None = None,
    ) -> Tensor:
        """Return n draws of x that begin with a prompt, the rest drawn given it.

        Args:
            program: An autoregressive program.
            prompt: The first tokens, shape (P,), or (n, P) for one each; the first rows of an image, shape (C, h, W) or
                (n, C, h, W). An empty prompt leaves all to be drawn, one of full length nothing.
            context: Shape (n, C) or (1, C) for a conditional program.
            n: Number of draws; that of the prompts if there are several.
            seed: Reproduces the draws without touching the global random state.

        Returns:
            Draws, shape (n, *event_shape), which begin with the prompt.

        Raises:
            ShapeError: The prompt is longer than the program's window, or its other sizes differ.
            SupportError: A token outside the vocabulary; the message says which and where.
            ArgumentError: n is not a positive integer, or not the number of prompts.
            UnsupportedQueryError: As for ``draw``.
        """
        x, known = place_prompt(program, prompt, n)
        c = check_context(context, program.context_features, x.shape[0], program.dtype, program.name)
        c = None if c is None else c.to(program.device)
        with evaluating(program), seeded(seed, program.device), torch.no_grad():
            return self._run(program, x, known, c)

    def _run(self, program: Program, x: Tensor, known: int, context: Tensor | None) -> Tensor:
        warp: Warp | None = self.warp if self.changes else None
        density = sequential(program, context)
        return density.complete(x, known, warp=warp, cache=self.cache).reshape(-1, *program.event_shape)
