"""Two moons by flow matching: couplings and one rectification, by log-likelihood and by draws of few steps."""

from __future__ import annotations

import argparse

import unigen as ug
from unigen.data.toy import two_moons


def euler(steps: int) -> ug.ProbabilityFlowODE:
    """Return a sampler of so many evaluations of the network."""
    return ug.ProbabilityFlowODE(method="euler", options={"step_size": 1.0 / steps})


def main() -> None:
    """Fit, rectify, and print held-out log p, straightness and the energy distance of draws."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    steps = parser.parse_args().steps
    moons = two_moons()
    x, held = moons.sample((5000,)), moons.sample((1000,))
    print(f"true density {float(moons.log_prob(held).mean()):.3f} nats")

    programs = {
        "independent": ug.FlowMatching(2, hidden=64, blocks=2),
        "transport": ug.FlowMatching(2, hidden=64, blocks=2, coupling=ug.MinibatchOT()),
        "circle": ug.FlowMatching(2, hidden=64, blocks=2, interpolant=ug.Trigonometric()),
    }
    for program in programs.values():
        ug.fit(program, x, steps=steps, ema=None, seed=0)
    programs["rectified"] = ug.reflow(programs["independent"], 5 * steps, steps=steps, ema=None, seed=0)

    for name, program in programs.items():
        bend = ug.evaluate.straightness(program, 500, seed=0)
        print(f"{name:12s} {program.log_prob(held).mean()}   straightness {bend:.3f}")
        for count in (1, 4, 16):
            draws = program.sample(1000, sampler=euler(count), seed=0)
            print(f"   {count:2d} evaluations: {ug.evaluate.energy_distance(draws, held)}")


if __name__ == "__main__":
    main()
