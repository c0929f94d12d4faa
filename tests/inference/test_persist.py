"""save and load: exact weights, whole constructions, and a typed refusal of everything else."""

from __future__ import annotations

from pathlib import Path

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

import unigen as ug
from unigen.errors import CheckpointError
from unigen.inference.persist import load, save
from unigen.program import Program


def test_a_composed_program_comes_back_with_its_parts_and_its_numbers(tmp_path: Path) -> None:
    vae = ug.VAE(
        6, 3, prior=ug.NSF(3, transforms=1, hidden=(8,)), hidden=(8,), likelihood=ug.Gaussian("network")
    )
    again = load(save(vae, tmp_path / "vae.safetensors"))
    assert again.formula == vae.formula == "p(x, z) = p(x | z) p_NSF(z);  q(z | x)"
    assert all(torch.equal(a, b) for a, b in zip(vae.parameters(), again.parameters(), strict=True))
    assert torch.equal(vae.sample(5, seed=1), again.sample(5, seed=1))


def test_dtype_and_fitted_are_kept(tmp_path: Path) -> None:
    program = ug.PPCA(4, 2)
    ug.fit(program, torch.randn(30, 4), dtype=torch.float64)
    again = load(save(program, tmp_path / "p.safetensors"))
    assert again.dtype == torch.float64 and again.fitted


class Own(Program):
    def __init__(self) -> None:
        super().__init__((2,))
        self.loc = nn.Parameter(torch.randn(2))

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        with self.plate(x, n):
            return pyro.sample("x", dist.Normal(self.loc, 1.0).to_event(1), obs=x)


def test_a_users_program_is_loaded_into_an_instance(tmp_path: Path) -> None:
    one, two = Own(), Own()
    path = save(one, tmp_path / "own.safetensors")
    with pytest.raises(CheckpointError, match="into=program"):
        load(path)
    assert load(path, into=two) is two and torch.equal(one.loc, two.loc)


def test_another_program_is_refused_and_left_unchanged(tmp_path: Path) -> None:
    path = save(ug.PPCA(4, 2), tmp_path / "p.safetensors")
    other = ug.PPCA(5, 2)
    kept = other.weight.detach().clone()
    with pytest.raises(CheckpointError, match="another program") as caught:
        load(path, into=other)
    assert torch.equal(other.weight, kept) and "(4,)" in str(caught.value) and "(5,)" in str(caught.value)


def test_only_listed_names_are_constructed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that names another class is refused: loading constructs nothing that is not in the table."""
    from unigen.inference import persist

    program = ug.PPCA(4, 2)
    monkeypatch.setattr(persist, "_encode", lambda value: {"part": "Popen", "arguments": {"args": "true"}})
    path = save(program, tmp_path / "p.safetensors")
    with pytest.raises(CheckpointError, match="refuses"):
        load(path)


def test_a_flipped_bit_and_a_missing_file_are_errors(tmp_path: Path) -> None:
    path = save(ug.PPCA(4, 2), tmp_path / "p.safetensors")
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError):
        load(path)
    with pytest.raises(CheckpointError):
        load(tmp_path / "absent.safetensors")


def test_the_checkpoint_of_a_fit_loads_as_a_program(tmp_path: Path) -> None:
    vae = ug.VAE(4, 2, hidden=(8,))
    ug.fit(vae, torch.randn(40, 4), steps=4, seed=0, checkpoint=tmp_path / "run.safetensors")
    assert torch.equal(load(tmp_path / "run.safetensors").sample(3, seed=0), vae.sample(3, seed=0))


def test_a_linear_vae_comes_back(tmp_path: Path) -> None:
    vae = ug.linear_vae(5, 2)
    again = load(save(vae, tmp_path / "linear.safetensors"))
    assert torch.equal(again.decode(torch.ones(1, 2)), vae.decode(torch.ones(1, 2)))
