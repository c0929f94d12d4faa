from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from unigen.errors import ArgumentError, ContextError, ShapeError
from unigen.nn.residual import ResidualMLP


def awake(net: ResidualMLP) -> ResidualMLP:
    """Undo the zero initialisation, so that outputs say something."""
    nn.init.normal_(net.output.weight)
    return net


def test_is_zero_at_initialisation_and_trains_from_there() -> None:
    torch.manual_seed(0)
    net = ResidualMLP(3, hidden=16, context=2)
    x, t, c = torch.randn(8, 3), torch.rand(8), torch.randn(8, 2)
    assert torch.equal(net(x, t, c), torch.zeros(8, 3))
    net(x, t, c).sub(1.0).square().sum().backward()
    assert net.output.weight.grad is not None
    assert net.output.weight.grad.abs().sum() > 0


def test_equals_the_equation_written_out() -> None:
    torch.manual_seed(0)
    net = awake(ResidualMLP(3, hidden=8, blocks=2, context=2)).double()
    x, t, c = torch.randn(5, 3).double(), torch.rand(5).double(), torch.randn(5, 2).double()
    assert net.embed_time is not None
    assert net.embed_context is not None
    e = torch.nn.functional.silu(net.embed_time(t) + net.embed_context(c))
    h = net.input(x)
    for block in net.blocks:
        centred = h - h.mean(-1, keepdim=True)
        normed = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        scale, shift = block.modulation(e)[:, :8], block.modulation(e)[:, 8:]
        h = h + block.body(normed * (1 + scale) + shift)
    torch.testing.assert_close(net(x, t, c), net.output(h), atol=1e-12, rtol=0)


def test_without_blocks_it_is_affine() -> None:
    torch.manual_seed(0)
    net = awake(ResidualMLP(3, hidden=8, blocks=0, time=False)).double()
    x, y = torch.randn(2, 5, 3).double()
    torch.testing.assert_close(net(2 * x - y), 2 * net(x) - net(y))


def test_time_and_context_broadcast() -> None:
    torch.manual_seed(0)
    net = awake(ResidualMLP(3, hidden=8, context=2))
    x, c = torch.randn(4, 5, 3), torch.randn(5, 2)
    one = net(x, torch.tensor(0.3), c)
    torch.testing.assert_close(one, net(x, torch.full((4, 5), 0.3), c.expand(4, 5, 2)))
    t = torch.rand(5)
    torch.testing.assert_close(net(x, t, c)[2], net(x[2], t, c))


@pytest.mark.parametrize(("time", "context"), [(True, 0), (True, 2), (False, 0), (False, 2)])
def test_time_and_context_matter_and_every_parameter_is_reached(time: bool, context: int) -> None:
    torch.manual_seed(0)
    net = awake(ResidualMLP(3, hidden=8, time=time, context=context))
    x = torch.randn(6, 3)
    t = torch.rand(6) if time else None
    c = torch.randn(6, context) if context else None
    out = net(x, t, c)
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    if t is not None:
        assert not torch.allclose(out, net(x, 1 - t, c), atol=1e-3)
    if c is not None:
        assert not torch.allclose(out, net(x, t, -c), atol=1e-3)


def test_learns_the_posterior_mean_of_a_gaussian_denoiser() -> None:
    """E[x_0 | x_t] = α s² x_t / (α² s² + σ²) is linear in x_t with a gain that depends on t."""
    torch.manual_seed(0)
    net, s = ResidualMLP(1, hidden=32, blocks=2), 0.5
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(500):
        t = torch.rand(256)
        x_0 = s * torch.randn(256, 1)
        x_t = (1 - t)[:, None] * x_0 + t[:, None] * torch.randn(256, 1)
        optimiser.zero_grad()
        (net(x_t, t) - x_0).square().mean().backward()
        optimiser.step()
    t, x_t = torch.linspace(0.05, 0.95, 19), torch.linspace(-1, 1, 21)
    gain = (1 - t) * s**2 / ((1 - t) ** 2 * s**2 + t**2)
    grid_t, grid_x = torch.meshgrid(t, x_t, indexing="ij")
    with torch.no_grad():
        error = net(grid_x.reshape(-1, 1), grid_t.reshape(-1)).reshape(19, 21) - gain[:, None] * x_t
    assert error.square().mean().sqrt() < 0.1 * s


def test_bad_input_is_refused() -> None:
    net = ResidualMLP(3, hidden=8)
    with pytest.raises(ShapeError, match="squeeze"):
        net(torch.randn(5, 3), torch.rand(5, 1))
    with pytest.raises(ShapeError):
        net(torch.randn(5, 3), torch.rand(4))
    with pytest.raises(ShapeError):
        net(torch.randn(5, 2), torch.rand(5))
    with pytest.raises(ArgumentError, match="no t"):
        net(torch.randn(5, 3))
    with pytest.raises(ArgumentError, match="time=False"):
        ResidualMLP(3, hidden=8, time=False)(torch.randn(5, 3), torch.rand(5))
    with pytest.raises(ContextError):
        net(torch.randn(5, 3), torch.rand(5), torch.randn(5, 2))
    with pytest.raises(ArgumentError):
        ResidualMLP(3, blocks=-1)


def test_traces_with_a_symbolic_batch_size_and_under_vmapped_jacobians() -> None:
    torch.manual_seed(0)
    net = awake(ResidualMLP(3, hidden=8, context=2))
    graph = make_fx(lambda *a: net(*a), tracing_mode="symbolic", _allow_non_fake_inputs=True)(
        torch.randn(6, 3), torch.rand(6), torch.randn(6, 2)
    )
    x, t, c = torch.randn(11, 3), torch.rand(11), torch.randn(11, 2)
    torch.testing.assert_close(graph(x, t, c), net(x, t, c))
    jacobian = torch.func.vmap(torch.func.jacrev(lambda a, b, d: net(a, b, d)))(x, t, c)
    step = 1e-3 * torch.eye(3)
    numeric = torch.stack([(net(x + e, t, c) - net(x - e, t, c)) / 2e-3 for e in step], dim=-1)
    torch.testing.assert_close(jacobian, numeric, atol=2e-2, rtol=1e-2)
