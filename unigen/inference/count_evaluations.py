"""CountEvaluations: a callback that records what each training step of a continuous flow cost its ODE solver."""

from __future__ import annotations

from unigen.dynamics.unit_flow import flow_of
from unigen.inference.run import StepEvent


class CountEvaluations:
    """Write evaluations of the drift, forward and backward, into the record of a fit, and their means into its notes.

    Args:
        every: Rounds between two entries.

    Example:
        >>> import torch, unigen as ug
        >>> cnf = ug.CNF(features=1, hidden=(8,), solver=ug.FixedSteps(2))
        >>> record = ug.fit(cnf, torch.randn(20, 1), steps=3, callbacks=[CountEvaluations()])
        >>> record.final["evaluations"], record.notes
        (8.0, ['8.0 evaluations of the drift a step forward, 0.0 backward'])
    """

    def __init__(self, every: int = 1) -> None:
        self.every = every
        self.note = ""

    def __call__(self, event: StepEvent) -> None:
        """Record one round.

        Raises:
            ArgumentError: The program has no flow.
        """
        if event.step % self.every:
            return
        count, record = flow_of(event.program).evaluations, event.record
        record.add("evaluations", event.step, float(count.forward))
        record.add("evaluations backward", event.step, float(count.backward))
        forward, backward = (
            sum(value for _, value in record.history[name]) / len(record.history[name])
            for name in ("evaluations", "evaluations backward")
        )
        if self.note in record.notes:
            record.notes.remove(self.note)
        self.note = f"{forward:.1f} evaluations of the drift a step forward, {backward:.1f} backward"
        record.notes.append(self.note)
