"""Convolutional networks: shapes from 8 × 8 to 64 × 64, order of the parameters, a VAE of images, refusals."""

from __future__ import annotations

import pytest
import torch

import unigen as ug
from tests.programs import traces_with_symbolic_batch
from unigen.errors import ArgumentError, ContextError, ShapeError
from unigen.nn.conv import ConvDecoder, ConvEncoder, halvings
from unigen.testing.check import check_program

SHAPES = [(1, 8, 8), (3, 16, 16), (1, 28, 28), (2, 7, 12), (1, 64, 64)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_and_gradients(shape):
    size = shape[0] * shape[1] * shape[2]
    encoder, decoder = (
        ConvEncoder(shape, 6, width=2, context=3),
        ConvDecoder(5, shape, per_feature=2, width=2, context=3),
    )
    c = torch.randn(4, 3)
    h = encoder(torch.randn(4, *shape), c)
    raw = decoder(torch.randn(2, 4, 5), c)
    assert h.shape == (4, 6) and raw.shape == (2, 4, 2 * size)
    (h.square().sum() + raw.square().sum()).backward()
    assert all(bool((p.grad != 0).any()) for net in (encoder, decoder) for p in net.parameters())


def test_sides_are_halved_while_they_are_even_and_above_four():
    assert [halvings(s) for s in SHAPES] == [1, 2, 2, 0, 4]


def test_flat_images_and_further_dimensions_are_the_same_images():
    net, x = ConvEncoder((2, 8, 8), 3, width=2).double(), torch.randn(3, 4, 2, 8, 8, dtype=torch.float64)
    whole = net(x)
    assert whole.shape == (3, 4, 3)
    torch.testing.assert_close(net(x.flatten(2)), whole)
    torch.testing.assert_close(net(x[1, 2][None])[0], whole[1, 2])
    back, z = ConvDecoder(3, (2, 8, 8), width=2).double(), torch.randn(3, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(back(z)[1, 2], back(z[1, 2]))


def test_parameters_of_one_feature_stand_side_by_side():
    net = ConvDecoder(2, (3, 4, 4), per_feature=2, width=2)
    with torch.no_grad():
        net.last.weight.zero_()
        net.last.bias.copy_(torch.arange(6.0))
    raw = net(torch.zeros(2)).unflatten(-1, (3, 4, 4, 2))
    assert torch.equal(raw[:, 1, 2], torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))


def test_a_feature_sees_its_neighbourhood():
    """One convolution: without the stages, a shift of the image shifts the features."""
    net = ConvDecoder(1, (1, 8, 8), width=2)
    low = torch.zeros(1, 4, 4, 4)[:, : net.small[0]]
    one, two = low.clone(), low.clone()
    one[0, :, 1, 1] = 1.0
    two[0, :, 1, 2] = 1.0
    a, b = net.stages[1](one), net.stages[1](two)  # nearest-neighbour upsampling: one cell is two pixels
    assert torch.equal(a.roll(2, -1), b) and a.shape[-1] == 8


@pytest.mark.parametrize("shape", [(64,), (1, 8, 8)], ids=str)
def test_a_vae_of_images(shape, tmp_path):
    image = (1, 8, 8)
    vae = ug.VAE(
        shape, 2, likelihood=ug.Gaussian("network"),
        encoder=ConvEncoder(image, 4, width=2), decoder=ConvDecoder(2, image, per_feature=2, width=2),
    )  # fmt: skip
    x = ug.data.digits().train[:64].reshape(64, *shape)
    assert traces_with_symbolic_batch(vae, ug.ELBO(), x[:6])
    curve = [v for _, v in ug.fit(vae, x, steps=40, batch_size=32, lr=5e-3, seed=0).history["elbo"]]
    assert sum(curve[-5:]) < sum(curve[:5]) and vae.sample(3).shape == (3, *shape)
    again = ug.load(ug.save(vae, tmp_path / "conv"))
    assert torch.equal(again.sample(2, seed=0), vae.sample(2, seed=0))


def test_every_law_holds():
    image = (1, 4, 4)
    vae = ug.VAE(
        image, 2, encoder=ConvEncoder(image, 4, width=2, context=2), context=2,
        decoder=ConvDecoder(2, image, width=2, context=2),
    )  # fmt: skip
    check_program(vae, budget=20_000)


def test_bad_sizes_and_images_are_refused():
    for make in (
        lambda: ConvEncoder((8, 8), 4),
        lambda: ConvEncoder((1, 8, 8), 0),
        lambda: ConvDecoder(0, (1, 8, 8)),
        lambda: ConvDecoder(2, (1, 8, 8), width=0),
    ):
        with pytest.raises(ArgumentError):
            make()
    with pytest.raises(ShapeError, match="ConvEncoder"):
        ConvEncoder((1, 8, 8), 4, width=2)(torch.zeros(3, 65))
    with pytest.raises(ContextError):
        ConvEncoder((1, 8, 8), 4, width=2)(torch.zeros(3, 64), torch.zeros(3, 1))
