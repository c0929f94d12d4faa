"""Record: what happened in a fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from unigen.inference.averages import Average

Curve = list[tuple[int, float]]


@dataclass
class Record:
    """The history of one fit.

    Args:
        program: Name of the program.
        objective: The objective, as text.
        history: Curves by name (a player's loss, ``validation``, ``gradient norm``): (step, value) pairs.
        steps: Rounds done in all, resumed ones included.
        seconds: Wall time of this process.
        best_step: Step whose parameters the program now has, if validation chose one.
        stopped: Why the fit ended.
        compiled: Whether the steps ran compiled.
        notes: Things worth saying once (why a step was not compiled, which average is in place).
        average: With ``ema``, what keeps the parameters of the last step while the program has their average:
            ``with record.average.swapped(): …`` exchanges the two within the block.
    """

    program: str = ""
    objective: str = ""
    history: dict[str, Curve] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0
    best_step: int | None = None
    stopped: str = ""
    compiled: bool = False
    notes: list[str] = field(default_factory=list)
    average: Average | None = field(default=None, compare=False)

    def add(self, name: str, step: int, value: float) -> None:
        """Append one point to a curve."""
        self.history.setdefault(name, []).append((step, value))

    @property
    def final(self) -> dict[str, float]:
        """Last value of each curve."""
        return {name: curve[-1][1] for name, curve in self.history.items() if curve}

    def __repr__(self) -> str:
        """Return a one-line summary."""
        values = ", ".join(f"{k}={v:.4g}" for k, v in self.final.items())
        best = f", best step {self.best_step}" if self.best_step is not None else ""
        return f"Record({self.program}: {self.steps} steps in {self.seconds:.1f} s, {values}{best}; {self.stopped})"

    def plot(self) -> Figure:
        """Return a figure of all curves; ``record.plot().savefig("run.png")`` writes it."""
        from unigen.plots.curves import training_curves

        return training_curves(self.history)
