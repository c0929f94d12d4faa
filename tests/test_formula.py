"""Factorisations as text, from structures written out and from programs with known graphs."""

from __future__ import annotations

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch.distributions import constraints

from tests.programs import Conditional, Nested, SharedMean
from unigen.formula import describe
from unigen.models.ddpm import DDPM
from unigen.models.energy import EnergyModel
from unigen.models.gan import GAN
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.program import Program
from unigen.structure import Site, Structure


def site(name: str, *parents: str, label: str | None = None, conditional: bool = False) -> Site:
    return Site(
        name, torch.Size((1,)), True, False, constraints.real, parents, label, conditional=conditional
    )


def test_labels_contexts_and_missing_posteriors():
    structure = Structure(site("x", "z"), (site("z", label="NSF"),))
    assert describe(structure) == "p(x, z) = p(x | z) p_NSF(z);  q(z | x)"
    structure = Structure(site("x", "z", conditional=True), (site("z", label="NSF"),))
    assert describe(structure, conditional=True) == "p(x, z | c) = p(x | z, c) p_NSF(z);  q(z | x, c)"
    assert (
        describe(Structure(site("x", "z"), (site("z", label="NSF"),)), posterior=False)
        == "p(x, z) = p(x | z) p_NSF(z)"
    )
    assert describe(structure, True, label="IAF").endswith(";  q_IAF(z | x, c)")
    assert describe(Structure(site("x"), ())) == "p(x)"
    assert describe(Structure(site("x"), ()), conditional=True) == "p(x | c)"
    assert describe(Structure(site("x", label="MAF"), ()), conditional=True) == "p(x | c) = p_MAF(x | c)"


def test_long_hierarchies_are_abbreviated():
    chain = [site("z1")] + [site(f"z{i}", f"z{i - 1}") for i in range(2, 8)]
    text = describe(Structure(site("x", "z7"), tuple(chain)))
    assert text == ("p(x, z1, z2, …, z7) = p(x | z7) p(z7 | z6) … p(z1);  q(z1, z2, …, z7 | x)")


class Chain(Program):
    """b depends on a alone, x on b alone: the graph must leave out what the code does not use."""

    def model(self, x=None, n=1):
        with self.plate(x, n):
            a = pyro.sample("a", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            b = pyro.sample("b", dist.Normal(a, 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(b, 1.0).to_event(1), obs=x)


@pytest.mark.parametrize(
    ("program", "formula"),
    [
        (lambda: PPCA(3, 1), "p(x, z) = p(x | z) p(z);  q(z | x)"),
        (lambda: VAE(3, 2, prior=PPCA(2, 1), hidden=(4,)), "p(x, z) = p(x | z) p_PPCA(z);  q(z | x)"),
        (lambda: VAE(3, 2, prior=EnergyModel(2, hidden=(4,)), hidden=(4,)),
         "p(x, z) = p(x | z) p_EnergyModel(z);  q(z | x)"),
        (lambda: GAN(3, hidden=(4,)), "p(x, z) = p(x | z) p(z)"),
        (Conditional, "p(x | c)"),
        (Chain, "p(x, a, b) = p(x | b) p(b | a) p(a);  q(a, b | x)"),
        (SharedMean, "p(x, theta, z) = p(x | z) p(z | theta) p(theta);  q(theta, z | x)"),
        (Nested, "p(x, z, w) = p(x | z, w) p(w | z) p(z);  q(z, w | x)"),
        (lambda: DDPM(2, steps=2, hidden=4, blocks=1),
         "p(x, z_2, z_1) = p(x | z_1) p(z_1 | z_2) p(z_2);  q(z_2, z_1 | x)"),
    ],
)  # fmt: skip
def test_formulas_of_programs(program, formula):
    assert program().formula == formula


def test_only_what_depends_on_the_context_says_so():
    import unigen as ug

    assert VAE(4, 2, context=3).formula == "p(x, z | c) = p(x | z, c) p(z);  q(z | x, c)"
    prior = ug.NSF(2, context=3, transforms=1, hidden=(4,))
    assert VAE(4, 2, context=3, prior=prior).formula == "p(x, z | c) = p(x | z, c) p_NSF(z | c);  q(z | x, c)"
