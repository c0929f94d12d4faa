"""The UNet: shapes from 8 × 8 to 64 × 64, what it sees, its trace, its programs and its refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import unigen as ug
from unigen.errors import ArgumentError, ContextError, ShapeError
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.step import EagerStep
from unigen.nn.unet import UNet

F64 = torch.float64
SMALL = {"channels": (4, 8), "groups": 2, "heads": 2}


def awake(net: UNet) -> UNet:
    """Undo the zero initialisation, so that outputs say something."""
    nn.init.normal_(net.last.weight, std=0.1)
    nn.init.normal_(net.position, std=0.1)
    return net


@pytest.mark.parametrize(
    ("shape", "channels", "patch", "heights"),
    [
        ((1, 8, 8), (4, 8), 1, [8, 4]),
        ((1, 28, 28), (4, 8, 8), 1, [28, 14, 7]),
        ((1, 28, 28), (4, 8), 2, [14, 7]),
        ((3, 32, 32), (4, 4, 8, 8), 1, [32, 16, 8, 4]),
        ((3, 64, 64), (4, 4, 8, 8), 2, [32, 16, 8, 4]),
        ((2, 12, 20), (4, 8), 2, [6, 3]),
    ],
    ids=str,
)
def test_shapes_and_gradients(
    shape: tuple[int, ...], channels: tuple[int, ...], patch: int, heights: list[int]
) -> None:
    net = awake(UNet(shape, channels=channels, patch=patch, groups=2, heads=2, context=3, blocks=2))
    seen: list[int] = []
    for scale in net.down:
        scale[-1].register_forward_hook(lambda _, __, out: seen.append(out.shape[-2]))
    x, t, c = torch.randn(3, *shape), torch.rand(3), torch.randn(3, 3)
    out = net(x, t, c)
    assert out.shape == x.shape and seen == heights
    out.square().sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in net.parameters())


def test_is_zero_at_initialisation_and_trains_from_there() -> None:
    net = UNet((1, 8, 8), **SMALL)
    x, t = torch.randn(3, 1, 8, 8), torch.rand(3)
    assert torch.equal(net(x, t), torch.zeros_like(x))
    net(x, t).sub(1.0).square().sum().backward()
    assert net.last.weight.grad is not None and net.last.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("time", "context"), [(True, 0), (True, 2), (False, 0), (False, 2)])
def test_time_and_context_matter_where_they_are_given(time: bool, context: int) -> None:
    net = awake(UNet((1, 8, 8), time=time, context=context, **SMALL)).double()
    x = torch.randn(4, 1, 8, 8, dtype=F64)
    t = torch.rand(4, dtype=F64) if time else None
    c = torch.randn(4, context, dtype=F64) if context else None
    out = net(x, t, c)
    assert out.dtype is F64
    out.square().sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in net.parameters())
    if t is not None:
        assert not torch.allclose(out, net(x, 1 - t, c), atol=1e-4)
    if c is not None:
        assert not torch.allclose(out, net(x, t, -c), atol=1e-4)


def test_images_do_not_see_one_another_and_flat_ones_are_the_same() -> None:
    net = awake(UNet((2, 8, 8), context=3, **SMALL)).double()
    x, t, c = torch.randn(3, 4, 2, 8, 8, dtype=F64), torch.rand(4, dtype=F64), torch.randn(4, 3, dtype=F64)
    whole = net(x, t, c)
    torch.testing.assert_close(whole[1, 2:3], net(x[1, 2:3], t[2:3], c[2:3]))
    torch.testing.assert_close(net(x.flatten(2), t, c), whole.flatten(2))
    torch.testing.assert_close(net(x, t.expand(3, 4), c.expand(3, 4, 3)), whole)
    torch.testing.assert_close(net(x, t[0], c), net(x, t[0].expand(3, 4), c))


@pytest.mark.parametrize(("attention", "patch"), [(None, 1), ((), 1), ((), 2), ((8,), 1)], ids=str)
def test_every_pixel_sees_every_pixel(attention: tuple[int, ...] | None, patch: int) -> None:
    """The receptive field covers the image: ∂ output / ∂ input has no zero."""
    net = awake(
        UNet((1, 8, 8), channels=(4, 4), groups=2, heads=2, attention=attention, patch=patch)
    ).double()
    x = torch.randn(1, 64, dtype=F64)
    jacobian = torch.func.jacrev(lambda z: net(z[None], torch.tensor(0.5, dtype=F64))[0])(x[0])
    assert bool((jacobian != 0).all())


def test_the_number_of_parameters() -> None:
    f, g, e, blocks = 8, 16, 32, 2
    net = UNet((1, 8, 8), channels=(f, g), blocks=blocks, context=3)

    def block(a: int, b: int) -> int:
        skip = 0 if a == b else a * b + b
        return 2 * a + 9 * a * b + b + 2 * b + 9 * b * b + b + 2 * b * (e + 1) + skip

    attention = 2 * g + 3 * g * (g + 1) + g * (g + 1)
    stages = blocks * (block(f, f) + block(2 * f, f) + block(g, g) + block(2 * g, g)) + block(g, g)
    between = 4 * f * g + g + 4 * g * f + f
    embedding = 65 * e + e * (e + 1) + 4 * e
    ends = 9 * f + f + f * 64 + 2 * f + 9 * f + 1
    expected = stages + (2 * blocks + 1) * attention + between + embedding + ends
    assert sum(p.numel() for p in net.parameters()) == expected
    documented = UNet((1, 28, 28), channels=(32, 64, 64))
    assert round(sum(p.numel() for p in documented.parameters()) / 1e6, 2) == 0.76


def test_vmapped_products_with_the_jacobian() -> None:
    """As the probability flow takes them: vᵀ J w against a central difference."""
    net = awake(UNet((1, 8, 8), context=2, **SMALL)).double()
    options = {"dtype": F64}
    x, t, c = torch.randn(5, 1, 8, 8, **options), torch.rand(5, **options), torch.randn(5, 2, **options)
    value, pull = torch.func.vjp(lambda z: net(z, t, c), x)
    probes = torch.randn(3, *x.shape, **options)
    rows = torch.func.vmap(lambda v: pull(v)[0])(probes)
    step = 1e-6
    numeric = (net(x + step * probes[0], t, c) - net(x - step * probes[0], t, c)) / (2 * step)
    torch.testing.assert_close((rows[1] * probes[0]).sum(), (numeric * probes[1]).sum(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(value, net(x, t, c))


def test_compiled_steps_are_the_eager_ones() -> None:
    x, states = torch.randn(6, 1, 8, 8, dtype=F64), []
    for compiled in (False, True):
        torch.manual_seed(3)
        program = ug.Diffusion((1, 8, 8), network=awake(UNet((1, 8, 8), **SMALL))).double()
        player = ug.DenoisingScoreMatching().players(program)[0]
        optimizer = torch.optim.SGD(player.parameters.values(), lr=1e-4)
        options = {"example": (x, None), "compiler": interpreted} if compiled else {}
        step = (CompiledStep if compiled else EagerStep)(player.loss, player.parameters, optimizer, **options)
        torch.manual_seed(4)
        losses = [step(rows, None).loss.detach().clone() for rows in (x, x[:4], x)]  # the batch size is free
        assert step.compiled is compiled
        states.append([*losses, *(p.detach().clone() for p in program.parameters())])
    for one, two in zip(*states, strict=True):
        torch.testing.assert_close(one, two, atol=1e-9, rtol=1e-9)
    assert abs(float(states[0][0] - states[0][2])) > 1e-3  # the steps move


@pytest.mark.parametrize("shape", [(64,), (1, 8, 8)], ids=str)
def test_programs_of_images_learn_draw_score_and_are_saved(shape: tuple[int, ...], tmp_path) -> None:
    x = ug.data.digits().train[:64].reshape(64, *shape)
    program = ug.Diffusion(shape, network=UNet((1, 8, 8), **SMALL))
    record = ug.fit(program, x, steps=60, batch_size=32, lr=5e-3, seed=0, schedule=None)
    curve = [value for _, value in record.history["denoising"]]
    assert sum(curve[-10:]) < sum(curve[:10])
    assert program.sample(3, sampler=ug.DPMSolver(4)).shape == (3, *shape)
    coarse = ug.ProbabilityFlow(ug.Hutchinson(2), method="rk4", options={"step_size": 0.25})
    found = program.log_prob(x[:2], density=coarse)
    assert found.stderr is not None and bool(torch.isfinite(found.value).all())
    again = ug.load(ug.save(program, tmp_path / "unet"))
    one, two = (p.sample(2, seed=0, sampler=ug.DPMSolver(3)) for p in (program, again))
    assert torch.equal(one, two)


@pytest.mark.parametrize("family", [ug.Diffusion, ug.DDPM, ug.FlowMatching, ug.CNF])
def test_a_context_reaches_the_network_through_programs(family, tmp_path) -> None:
    event = 64 if family is ug.CNF else (1, 8, 8)
    program = family(event, network=awake(UNet((1, 8, 8), context=2, **SMALL)), context=2)
    x, c = torch.randn(4, 64).reshape(4, *program.event_shape), torch.eye(2).repeat(2, 1)
    field = (program.flow if hasattr(program, "flow") else program.denoiser).field
    t = torch.tensor(0.5)
    assert not torch.allclose(field(c)(t, x), field(-c)(t, x))
    again = ug.load(ug.save(program, tmp_path / "unet"))
    assert all(torch.equal(p, q) for p, q in zip(program.parameters(), again.parameters(), strict=True))


def test_latent_diffusion_of_images(tmp_path) -> None:
    """Convolutions to latents, a UNet on them: gradients reach all parts, the bound rises, the whole is saved."""
    image, latents = (1, 8, 8), (2, 4, 4)
    vae = ug.VAE(
        image, 32, prior=ug.Diffusion(
            32, network=awake(UNet(latents, **SMALL)), density=ug.DiffusionBound(2, 2), sampler=ug.DPMSolver(4)
        ),
        encoder=ug.ConvEncoder(image, 64, width=2), decoder=ug.ConvDecoder(32, image, width=2),
    )  # fmt: skip
    x = ug.data.digits().train[:64].reshape(64, *image)
    vae.surrogate(x[:8]).sum().backward()
    reached = {name for name, p in vae.named_parameters() if p.grad is not None and bool((p.grad != 0).any())}
    assert any("stem" in name for name in reached) and any("encoder" in name for name in reached)
    record = ug.fit(vae, x, steps=60, batch_size=32, lr=5e-3, seed=0)
    curve = [value for _, value in record.history["elbo"]]
    assert sum(curve[-10:]) < sum(curve[:10])
    assert vae.sample(3).shape == (3, *image)
    again = ug.load(ug.save(vae, tmp_path / "latent"))
    assert torch.equal(again.sample(2, seed=0), vae.sample(2, seed=0))


def test_bad_sizes_are_refused() -> None:
    for bad, match in (
        (lambda: UNet((8, 8)), "C, H, W"),
        (lambda: UNet((1, 8, 8), channels=()), "scale"),
        (lambda: UNet((1, 0, 8)), "sizes"),
        (lambda: UNet((1, 8, 8), blocks=0), "sizes"),
        (lambda: UNet((1, 8, 8), context=-1), "context"),
        (lambda: UNet((1, 28, 28), channels=(8, 8, 8, 8)), "divisible by 8"),
        (lambda: UNet((1, 28, 28), channels=(8, 8, 8), patch=2), "divisible by 8"),
        (lambda: UNet((1, 28, 20), channels=(8, 8), patch=4), "divisible by 8"),
        (lambda: UNet((1, 8, 8), channels=(8, 12)), "groups=4"),
        (lambda: UNet((1, 8, 8), channels=(8, 16), heads=3), "heads"),
        (lambda: UNet((1, 8, 8), channels=(8, 16), attention=(5,)), r"\[5\]"),
    ):
        with pytest.raises(ArgumentError, match=match):
            bad()


def test_bad_input_is_refused() -> None:
    net = UNet((1, 8, 8), **SMALL)
    x, t = torch.randn(3, 1, 8, 8), torch.rand(3)
    for wrong in (torch.randn(3, 8, 8), torch.randn(3, 65), torch.randn(1, 8, 8), torch.randn(3, 1, 8, 9)):
        with pytest.raises(ShapeError, match="UNet"):
            net(wrong, torch.tensor(0.5))
    with pytest.raises(ShapeError, match="squeeze"):
        net(x, t[:, None])
    with pytest.raises(ShapeError):
        net(x, t[:2])
    with pytest.raises(ArgumentError, match="no t"):
        net(x)
    with pytest.raises(ArgumentError, match="time=False"):
        UNet((1, 8, 8), time=False, **SMALL)(x, t)
    with pytest.raises(ContextError, match="context=C"):
        net(x, t, torch.randn(3, 2))
    with pytest.raises(ContextError):
        UNet((1, 8, 8), context=2, **SMALL)(x, t)
    with pytest.raises(ContextError):
        UNet((1, 8, 8), context=2, **SMALL)(x, t, torch.randn(3, 3))
