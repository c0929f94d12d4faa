"""Structure discovery: sites, plates, parents; and the disagreement of model and guide."""

from __future__ import annotations

import pyro
import pytest
import torch
from pyro import distributions as dist

from tests.programs import Conditional, Nested, SharedMean, Switch, Toy
from unigen.errors import SiteError
from unigen.program import Program
from unigen.structure import check_guide, discover


def test_toy():
    structure = Toy().structure
    assert [s.name for s in structure.latents] == ["z"] and structure.nesting == 1
    z, x = structure.latents[0], structure.observed
    assert z.event_shape == (1,) and z.local and not z.discrete and z.parents == ()
    assert x.parents == ("z",) and x.label is None
    assert structure.shared == ()


def test_shared_nested_and_discrete():
    shared = SharedMean().structure
    assert [s.name for s in shared.shared] == ["theta"]
    assert shared.latents[1].parents == ("theta",) and shared.observed.parents == ("z",)
    nested = Nested().structure
    assert nested.nesting == 2 and [s.name for s in nested.latents] == ["z", "w"]
    assert Switch().structure.latents[0].discrete
    assert Conditional().structure.latents == ()


def test_observed_and_deterministic_sites_are_not_latent():
    class Extra(Program):
        def model(self, x=None, n=1):
            with self.plate(x, n):
                z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
                pyro.deterministic("twice", 2 * z, event_dim=1)
                pyro.factor("soft", -(z.sum(-1) ** 2))
                pyro.sample("y", dist.Normal(z[..., 0], 1.0), obs=torch.zeros(()))
                return pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    program = Extra()
    assert [s.name for s in program.structure.latents] == ["z"]
    assert program.log_prob(torch.zeros(3, 2)).value.shape == (3,)
    assert program.sample(4).shape == (4, 2)


def test_parents_follow_the_computation_and_not_the_order():
    class Fork(Program):
        def model(self, x=None, n=1):
            with self.plate(x, n):
                a = pyro.sample("a", dist.Normal(torch.zeros(1), 1.0).to_event(1))
                b = pyro.sample("b", dist.Normal(torch.zeros(1), 1.0).to_event(1))
                c = pyro.sample("c", dist.Normal(a, 1.0).to_event(1))
                return pyro.sample("x", dist.Normal(b + c, 1.0).to_event(1), obs=x)

    program = Fork()
    assert {s.name: s.parents for s in program.structure.latents} == {"a": (), "b": (), "c": ("a",)}
    assert program.structure.observed.parents == ("b", "c")
    assert program.formula.startswith("p(x, a, b, c) = p(x | b, c) p(c | a) p(b) p(a);  q(a, b, c | x)")


def test_discovery_leaves_the_random_state_alone():
    state = torch.get_rng_state()
    discover(lambda: Toy().model(None, None, 2), "x", "Toy")
    assert torch.equal(torch.get_rng_state(), state)
    assert not list(pyro.get_param_store().keys())


def plain(observed: str = "x", inside: bool = True):
    def model():
        if inside:
            with pyro.plate("data", 2, dim=-1):
                pyro.sample(observed, dist.Normal(torch.zeros(1), 1.0).to_event(1))
        else:
            pyro.sample(observed, dist.Normal(torch.zeros(1), 1.0).to_event(1))

    return model


def test_refuses_a_missing_or_unplated_observation():
    with pytest.raises(SiteError, match=r"got sites \['y'\], expected a site named 'x'"):
        discover(plain("y"), "x", "P")
    with pytest.raises(SiteError, match=r"outside the plate.*self.plate"):
        discover(plain(inside=False), "x", "P")


def test_refuses_a_forgotten_event_dimension():
    class Forgot(Program):
        def model(self, x=None, n=1):
            with self.plate(x, n):
                z = pyro.sample(
                    "z", dist.Normal(torch.zeros(n if x is None else x.shape[0], 2), 1.0).to_event(1)
                )
                return pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    with pytest.raises((SiteError, RuntimeError, ValueError), match=r"to_event|broadcast|plate"):
        Forgot()

    class Silent(Program):
        """A column broadcasts against the plate into a square, which nothing else would notice."""

        def model(self, x=None, n=1):
            with self.plate(x, n):
                z = pyro.sample("z", dist.Normal(torch.zeros(n if x is None else x.shape[0], 1), 1.0))
                return pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    with pytest.raises(SiteError, match=r"site 'z': got batch shape \(2, 2\).*to_event\(1\)"):
        Silent()


def guide(name="z", dims=1, inside=True, extra=False):
    def run():
        fn = dist.Normal(torch.zeros(dims), 1.0).to_event(1)
        if inside:
            with pyro.plate("data", 2, dim=-1):
                pyro.sample(name, fn)
        else:
            pyro.sample(name, fn)
        if extra:
            pyro.sample("extra", dist.Normal(0.0, 1.0))

    return run


@pytest.mark.parametrize(("options", "words"), [
    ({"name": "w"}, r"misses the latent site 'z'.*name the guide's sites"),
    ({"extra": True}, "adds the latent site 'extra'"),
    ({"dims": 2}, r"event shape \(2,\) inside.*expected \(1,\) inside"),
    ({"inside": False}, "outside the plate in the guide"),
])  # fmt: skip
def test_refuses_a_guide_that_disagrees(options, words):
    with pytest.raises(SiteError, match=words):
        check_guide(Toy().structure, guide(**options), "Toy")


def test_refuses_a_guide_with_a_stray_dimension():
    def stray():
        with pyro.plate("data", 2, dim=-1):
            pyro.sample("z", dist.Normal(torch.zeros(3, 1, 1), 1.0).to_event(1))

    with pytest.raises(SiteError, match="batch shape"):
        check_guide(Toy().structure, stray, "Toy")


def test_accepts_a_guide_that_agrees():
    check_guide(Toy().structure, guide(), "Toy")
    for program in (Toy(), SharedMean(), Nested(), Switch(), Conditional()):
        program.check()


@pytest.mark.parametrize("site", ["x", "z"])
def test_a_forgotten_to_event_is_said_with_the_shapes(site):
    class Forgotten(Program):
        def model(self, x=None, n=1):
            with self.plate(x, n):
                if site == "z":
                    pyro.sample("z", dist.Normal(torch.zeros(3), 1.0))
                return pyro.sample("x", dist.Normal(torch.zeros(3), 1.0), obs=x)

    words = (
        rf"Forgotten, site '{site}': .*3 values.*plate 'data' 2; got batch shape \(…, 3\).*\.to_event\(1\)"
    )
    with pytest.raises(SiteError, match=words):
        Forgotten().structure  # noqa: B018


def test_other_errors_of_the_model_pass_as_they_are():
    class Broken(Program):
        def model(self, x=None, n=1):
            raise ValueError("my own")

    with pytest.raises(ValueError, match=r"^my own$"):
        Broken().structure  # noqa: B018
