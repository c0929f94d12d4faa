"""How a program meets Pyro's store: unique names, one registration, remembered arguments, any signature."""

from __future__ import annotations

import copy
import pickle

import pyro
import pytest
import torch
from pyro import poutine

from tests.programs import Conditional, Toy
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE


def registered(run) -> dict[str, torch.Tensor]:
    """Parameters that a handler of the user's sees."""
    nodes = poutine.trace(run).get_trace().nodes
    return {name: node["value"] for name, node in nodes.items() if node["type"] == "param"}


def test_parameters_are_announced_under_a_handler_only_and_by_identity():
    program = PPCA(3, 1)
    program.sample(2)
    program.log_prob(torch.zeros(1, 3))
    program.model(None, None, 2)
    assert not list(pyro.get_param_store().keys())
    seen = registered(lambda: program.model(None, None, 2))
    assert set(seen) == {f"{program._pyro_name}.{name}" for name, _ in program.named_parameters()}
    for name, parameter in program.named_parameters():
        assert seen[f"{program._pyro_name}.{name}"].unconstrained() is parameter


def test_frozen_parameters_stay_out():
    program = PPCA(3, 1)
    program.mean.requires_grad_(False)
    assert f"{program._pyro_name}.mean" not in registered(lambda: program.model(None, None, 2))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
def test_copies_have_a_name_and_values_of_their_own(copied):
    program = PPCA(3, 1)
    registered(lambda: program.model(None, None, 2))
    other = copied(program)
    assert other._pyro_name != program._pyro_name
    with torch.no_grad():
        other.mean.fill_(9.0)
    registered(lambda: other.model(None, None, 2))
    assert program.mean.abs().max() == 0 and other.mean.min() == 9


def test_a_part_keeps_its_name_and_is_announced_once():
    part = PPCA(2, 1)
    registered(lambda: part.model(None, None, 2))  # one that has run may still become a part
    name, whole = part._pyro_name, VAE(3, 2, prior=part, hidden=(4,))
    assert part._pyro_name == name
    seen = registered(lambda: whole.model(None, None, 2))
    identities = [id(value.unconstrained()) for value in seen.values()]
    assert len(identities) == len(set(identities)) == len(list(whole.parameters()))


def test_moved_parameters_replace_those_in_the_store():
    program = PPCA(3, 1)
    registered(lambda: program.model(None, None, 2))
    program.mean = torch.nn.Parameter(torch.ones(3))
    seen = registered(lambda: program.model(None, None, 2))
    assert seen[f"{program._pyro_name}.mean"].unconstrained() is program.mean


def test_constructor_arguments_are_remembered_as_given():
    assert PPCA(3, latents=1).__dict__["_arguments"] == {"features": 3, "latents": 1}
    assert PPCA(3).__dict__["_arguments"] == {"features": 3}


def test_models_may_declare_fewer_arguments():
    c, x = torch.randn(4, 3), torch.randn(4, 2)
    assert Conditional().model(x, c, 4) is x
    toy, y = Toy(), torch.zeros(4, 1, dtype=torch.float64)
    assert toy.model(y, None, 4) is y and toy.model(n=5).shape == (5, 1)
    assert toy.guide(y, None, 4).shape == (4, 1)


def test_an_abstract_program_cannot_be_made():
    from unigen.program import Program

    with pytest.raises(TypeError, match="abstract"):
        Program((2,))
