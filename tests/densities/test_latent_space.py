"""Latents as points of R^D: layout, Jacobians, and what cannot be laid out."""

from __future__ import annotations

import pyro
import pytest
import torch
from pyro import distributions as dist

from tests.programs import Nested, SharedMean, Switch, Toy
from unigen.densities.latent_space import LatentSpace
from unigen.errors import ShapeError, SiteError, UnsupportedQueryError
from unigen.models.ddpm import DDPM
from unigen.models.vae import VAE
from unigen.program import Program
from unigen.traces import draw

R = 5


class Constrained(Program):
    """A rate > 0, weights on the simplex and a fraction in (0, 1); x = rate · weights + fraction + noise."""

    def model(self, x=None, n=1):
        with self.plate(x, n):
            rate = pyro.sample("rate", dist.Gamma(torch.tensor(2.0).double(), 1.0))
            weights = pyro.sample("weights", dist.Dirichlet(torch.tensor([2.0, 3.0, 4.0]).double()))
            fraction = pyro.sample("fraction", dist.Beta(torch.tensor(2.0).double(), 3.0))
            loc = rate[..., None] * weights + fraction[..., None]
            return pyro.sample("x", dist.Normal(loc, 0.5).to_event(1), obs=x)


class Dependent(Program):
    """b ~ U(0, a): a support that moves."""

    def model(self, x=None, n=1):
        with self.plate(x, n):
            a = pyro.sample("a", dist.Gamma(torch.tensor(2.0), 1.0))
            b = pyro.sample("b", dist.Uniform(0.0, a))
            return pyro.sample("x", dist.Normal(b, 1.0), obs=x)


def test_the_round_trip_and_the_jacobian():
    program, x = Constrained(), torch.randn(R, 3).double()
    space = LatentSpace(program, x, None, from_prior=True)
    u = space.start()
    assert u.shape == (R, 1 + 2 + 1)  # a simplex of three has two coordinates
    values, log_det = space.unpack(u)
    for name, value in space.values.items():
        assert torch.allclose(values[name], value)
    assert torch.allclose(space.pack(values), u)

    def free(v):  # coordinates of z without the redundant weight
        at, _ = space.unpack(v[None].expand(R, -1))
        return torch.cat([at["rate"][:1], at["weights"][0, :2], at["fraction"][:1]])

    for i in range(R):
        jacobian = torch.autograd.functional.jacobian(free, u[i])
        assert torch.allclose(torch.linalg.slogdet(jacobian)[1], log_det[i])


@pytest.mark.parametrize("from_prior", [True, False])
def test_densities_are_the_sums_over_sites(from_prior):
    program, x = Nested().double(), torch.randn(R, 3).double()
    space = LatentSpace(program, x, None, from_prior)
    u = space.start()
    log_base, log_ratio = space(u)
    values, _ = space.unpack(u)
    assert u.shape == (R, 3) and values["w"].shape == (2, R)
    z, w = values["z"], values["w"]
    log_prior = dist.Normal(0.0, 1.0).log_prob(z) + dist.Normal(z, 1.0).log_prob(w).sum(0)
    loc = torch.stack([z, w[0], w[1]], -1)
    log_joint = log_prior + dist.Normal(loc, 1.0).log_prob(x).sum(-1)
    log_guide = dist.Normal(x.mean(-1) / 2, 1.0).log_prob(z) + dist.Normal(x[:, 1:].mT / 2, 0.8).log_prob(
        w
    ).sum(0)
    expected = log_prior if from_prior else log_guide
    assert torch.allclose(log_base, expected)
    assert torch.allclose(log_base + log_ratio, log_joint)


def test_a_lone_guide_site_is_not_run_again():
    program, x = Toy(exact=True), torch.ones(R, 1).double()
    space = LatentSpace(program, x, None)
    space.base = None  # pyright: ignore[reportAttributeAccessIssue]
    log_base, log_ratio = space(space.start())
    assert log_base.shape == (R,) and torch.allclose(log_ratio, torch.tensor(-1.515512).double(), atol=1e-6)


def test_what_has_no_such_space_is_refused():
    for program, message in (
        (Switch(), "discrete"),
        (SharedMean(), "outside the plate"),
        (Dependent(), "depends on another"),
        (VAE(3, 2, prior=DDPM(2)), "fixed functions"),
    ):
        x = torch.zeros(R) if isinstance(program, Dependent) else torch.zeros(R, *program.event_shape)
        with pytest.raises(UnsupportedQueryError, match=message):
            LatentSpace(program, x, None, from_prior=isinstance(program, Dependent))


def test_latents_of_the_wrong_shape_are_refused():
    space = LatentSpace(Toy(), torch.ones(R, 1).double(), None)
    with pytest.raises(SiteError):
        space.pack({"w": torch.zeros(R, 1)})
    with pytest.raises(ShapeError):
        space.pack({"z": torch.zeros(R, 2)})
    assert "z" in draw(space.base)
