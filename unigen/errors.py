"""Every error unigen raises on purpose: what was got, what was expected, what to try.

Each class also derives from the built-in exception that a caller would catch without knowing unigen, so
``except ValueError`` keeps working.
"""

from __future__ import annotations

from typing import Any, ClassVar

ARGUMENTS = ("context", "data", "labels", "weights")  # that no error takes for sites


class UnigenError(Exception):
    """Base of all deliberate errors; its message names program, site or argument, got, expected and a remedy.

    What ``site`` names is called a site of the Pyro program, but an argument in the errors that are only about
    arguments, an option where it starts with ``--``, and a file where it has an ending.

    Args:
        message: A sentence that says what went wrong (optional when ``got`` and ``expected`` say it).
        program: Name of the program concerned.
        site: Name of the sample site concerned (or argument, option or file, see above).
        argument: Name of the argument concerned, in its place.
        got: What was found.
        expected: What would have been right.
        hint: What to try.
        partial: What was computed before it went wrong (of a sampler or solver: the trajectory so far).

    Example:
        >>> print(ShapeError(program="VAE", site="x", got="(3, 5)", expected="(N, 64)", hint="flatten the images"))
        VAE, site 'x': got (3, 5), expected (N, 64). Try: flatten the images.
        >>> print(ArgumentError(program="PPCA", site="latents", got=9, expected="at most 8"))
        PPCA, argument 'latents': got 9, expected at most 8.
    """

    _noun: ClassVar[str] = "site"

    def __init__(
        self,
        message: str = "",
        *,
        program: str | None = None,
        site: str | None = None,
        argument: str | None = None,
        got: object = None,
        expected: object = None,
        hint: str | None = None,
        partial: Any = None,
    ) -> None:
        self.message, self.program, self.partial = message, program, partial
        self.site, self.argument = site or argument, argument
        self.got, self.expected, self.hint = got, expected, hint
        super().__init__(message)

    def __str__(self) -> str:
        """Assemble the parts that were given into one readable line."""
        where = ", ".join(part for part in (self.program, self._place()) if part is not None)
        facts = [self.message.rstrip(".")] if self.message else []
        if self.got is not None and self.expected is not None:
            facts.append(f"got {self.got}, expected {self.expected}")
        elif self.got is not None:
            facts.append(f"got {self.got}")
        elif self.expected is not None:
            facts.append(f"expected {self.expected}")
        text = "; ".join(facts) + ("." if facts else "")
        if self.hint:
            text += f" Try: {self.hint.rstrip('.')}."
        return f"{where}: {text.strip()}" if where else text.strip()

    def _place(self) -> str | None:
        """Name the site, argument, option or file concerned."""
        if not self.site:
            return None
        noun = "argument" if self.argument or self.site in ARGUMENTS else self._noun
        if self.site.startswith("--"):
            noun = "option"
        elif "." in self.site.strip("."):
            noun = "file"
        return f"{noun} '{self.site}'"


class ShapeError(UnigenError, ValueError):
    """A tensor, or two parts put together, have shapes that do not meet."""


class DTypeError(UnigenError, TypeError):
    """Integers where reals are needed, or the reverse, or no tensor at all."""


class SupportError(UnigenError, ValueError):
    """A value outside the set on which the density lives."""


class NonFiniteError(UnigenError, ValueError):
    """NaN or infinity in the data."""


class EmptyDataError(UnigenError, ValueError):
    """No examples, where at least one is needed."""


class ContextError(UnigenError, ValueError):
    """A context given to an unconditional program, missing for a conditional one, or of the wrong shape."""

    _noun = "argument"


class ArgumentError(UnigenError, ValueError):
    """An option outside its range, or two options that exclude one another."""

    _noun = "argument"


class UnknownNameError(UnigenError, LookupError):
    """A family, relation, data set or site that does not exist; the message lists those that do."""

    _noun = "argument"


class SiteError(UnigenError, ValueError):
    """A model and its guide disagree on their sites, or a site stands outside the plate."""


class NoDensityError(UnigenError, NotImplementedError):
    """A density asked of a program that has none; the message says what to use instead."""


class UnsupportedQueryError(UnigenError, NotImplementedError):
    """A query that this family cannot answer (a posterior of an implicit model, say)."""


class KindError(UnigenError, TypeError):
    """Two log-probabilities whose kinds do not allow the comparison or sum that was asked."""


class NotFittedError(UnigenError, RuntimeError):
    """A program whose parameters were never estimated."""


class DivergedError(UnigenError, ArithmeticError):
    """A loss or gradient became non-finite; parameters are those of the last good step."""


class CheckpointError(UnigenError, RuntimeError):
    """A checkpoint that is truncated, tampered with, or belongs to another program."""


class MissingExtraError(UnigenError, ImportError):
    """An optional package is needed and not installed."""
