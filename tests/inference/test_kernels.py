"""Functions as graphs: equal to the functions, and these themselves where they cannot be traced."""

from __future__ import annotations

import pytest
import torch

from unigen.inference.kernels import leap_kernel, traced, tree_kernels, wanted


class Density:
    def __init__(self, power=2.0):
        self.power = power

    def of(self, q):
        return q.abs().pow(self.power).sum(1), self.power * q.sign() * q.abs().pow(self.power - 1)


def test_a_trace_is_the_function_for_strided_tensors_too():
    density = Density().of  # a method, whose self is no tensor
    graph = traced(density, [torch.zeros(4, 3)])
    assert graph is not density
    q = torch.randn(3, 4).T
    for ours, theirs in zip(graph(q), density(q), strict=True):
        assert torch.equal(ours, theirs)


def test_what_branches_on_values_runs_as_it_is():
    def branching(q):
        return (q.sum(1) if bool(q.sum() > 0) else -q.sum(1), q)

    assert traced(branching, [torch.zeros(4, 3)]) is branching


def test_a_compiler_that_fails_is_told_and_done_without():
    def broken(graph, inputs):
        raise RuntimeError("no compiler here")

    density = Density().of
    with pytest.warns(UserWarning, match="not compiled: .*no compiler here"):
        graph = traced(density, [torch.zeros(4, 3)], broken)
    assert torch.equal(graph(torch.ones(4, 3))[0], torch.full((4,), 3.0))


def test_compiling_is_decided_by_the_number_of_transitions():
    assert wanted("auto", 1000) and not wanted("auto", 999)
    assert wanted(True, 1) and not wanted(False, 10**6)


def test_kernels_take_positions_of_their_shape():
    like = torch.zeros(4, 3).double()
    leap = leap_kernel(Density().of, like, compile=False)
    q, r, g, u = leap(like + 1, like, like + 2, like[:, :1] - 0.05, like + 0.1)  # h = 0.1, m = 1
    torch.testing.assert_close(q, like + 0.99)
    assert u.shape == (4,) and tree_kernels(Density().of, like, compile=False).leaf is not None
    assert r.shape == g.shape == (4, 3)
