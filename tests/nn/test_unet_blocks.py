"""The blocks against their equations written out and against torch's own attention."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError
from unigen.nn.unet_blocks import PixelAttention, ResidualConv

F64 = torch.float64


def group_norm(h: Tensor, groups: int, weight: Tensor, bias: Tensor) -> Tensor:
    """Every group of channels, over all pixels, brought to mean 0 and variance 1; then one affine map a channel."""
    out = torch.empty_like(h)
    each = h.shape[1] // groups
    for n in range(h.shape[0]):
        for g in range(groups):
            part = h[n, g * each : (g + 1) * each]
            out[n, g * each : (g + 1) * each] = (part - part.mean()) / (part.var(correction=0) + 1e-5).sqrt()
    return out * weight[:, None, None] + bias[:, None, None]


def shuffled(module: nn.Module) -> nn.Module:
    """Give every parameter values that say something."""
    for p in module.parameters():
        nn.init.normal_(p, 0.1, 0.4)
    return module.double()


@pytest.mark.parametrize("out", [6, 9])
def test_a_block_is_its_equation(out: int) -> None:
    block = shuffled(ResidualConv(6, out, embedding=5, groups=3))
    assert isinstance(block, ResidualConv) and block.modulation is not None
    h, e = torch.randn(2, 6, 4, 3, dtype=F64), torch.randn(2, 5, dtype=F64)
    silu, conv = nn.functional.silu, nn.functional.conv2d
    inner = silu(group_norm(h, 3, block.norm_in.weight, block.norm_in.bias))
    inner = conv(inner, block.conv_in.weight, block.conv_in.bias, padding=1)
    inner = group_norm(inner, 3, block.norm_out.weight, block.norm_out.bias)
    gamma, beta = (e @ block.modulation.weight.T + block.modulation.bias)[..., None, None].split(out, dim=1)
    inner = conv(silu(inner * (1 + gamma) + beta), block.conv_out.weight, block.conv_out.bias, padding=1)
    around = h if block.skip is None else torch.einsum("of,nfhw->nohw", block.skip.weight[..., 0, 0], h)
    around = around if block.skip is None else around + block.skip.bias[:, None, None]
    torch.testing.assert_close(block(h, e), around + inner, atol=1e-10, rtol=0)


def test_what_is_normalised_has_mean_0_and_variance_1_in_every_group() -> None:
    block = ResidualConv(8, 8, groups=4).double()
    h = 3 + 7 * torch.randn(5, 8, 6, 6, dtype=F64)
    groups = block.norm_in(h).reshape(5, 4, -1)
    torch.testing.assert_close(groups.mean(-1), torch.zeros(5, 4, dtype=F64), atol=1e-12, rtol=0)
    torch.testing.assert_close(groups.var(-1, correction=0), torch.ones(5, 4, dtype=F64), atol=1e-5, rtol=0)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_is_that_of_torch(heads: int) -> None:
    block = shuffled(PixelAttention(8, heads=heads, groups=2))
    assert isinstance(block, PixelAttention)
    h = torch.randn(3, 8, 5, 4, dtype=F64)
    normed = group_norm(h, 2, block.norm.weight, block.norm.bias).flatten(2).transpose(1, 2)
    torchs = nn.MultiheadAttention(8, heads, batch_first=True, dtype=F64)
    with torch.no_grad():
        torchs.in_proj_weight.copy_(block.project_in.weight[..., 0, 0])
        torchs.in_proj_bias.copy_(block.project_in.get_parameter("bias"))
        torchs.out_proj.weight.copy_(block.project_out.weight[..., 0, 0])
        torchs.out_proj.bias.copy_(block.project_out.get_parameter("bias"))
    expected = torchs(normed, normed, normed, need_weights=False)[0].transpose(1, 2).reshape(h.shape)
    torch.testing.assert_close(block(h), h + expected, atol=1e-10, rtol=0)
    qkv = block.project_in(block.norm(h)).flatten(2).transpose(1, 2).chunk(3, dim=-1)
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in qkv)
    mixed = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    again = block.project_out(mixed.transpose(1, 2).reshape(h.shape))
    torch.testing.assert_close(block(h), h + again, atol=1e-10, rtol=0)


def test_attention_knows_no_order_of_pixels() -> None:
    block = PixelAttention(8).double()
    h, order = torch.randn(2, 8, 3, 3, dtype=F64), torch.randperm(9)
    moved = h.flatten(2)[..., order].reshape(h.shape)
    torch.testing.assert_close(block(moved), block(h).flatten(2)[..., order].reshape(h.shape))


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ArgumentError, match="groups=2"):
        ResidualConv(6, 8, groups=4)
    with pytest.raises(ArgumentError):
        ResidualConv(8, 6, groups=4)
    with pytest.raises(ArgumentError):
        ResidualConv(8, 8, groups=0)
    with pytest.raises(ArgumentError, match="heads=3"):
        PixelAttention(8, heads=3)
