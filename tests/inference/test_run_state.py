"""The state of a run: interrupted at any round and resumed, it continues bitwise; other runs are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.inference.test_run import X
from unigen.errors import CheckpointError
from unigen.inference.fit import fit
from unigen.inference.persist import load, save
from unigen.models.gan import GAN
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.objectives.elbo import ELBO
from unigen.objectives.likelihood import MaximumLikelihood
from unigen.recipe import Cosine

MAKE = {
    "vae": lambda: VAE(3, 1, hidden=(4,)),
    "gan": lambda: GAN(3, latents=2, hidden=(4,)),  # a critic that lives in the loss alone
}


def fitted(kind: str, path: Path, steps: int, stop: int | None = None, **options):
    torch.manual_seed(1)
    program = MAKE[kind]()
    callbacks = (lambda event: event.step == stop,) if stop else ()
    record = fit(program, X, steps=steps, batch_size=8, seed=2, ema=0.9, schedule=Cosine(), checkpoint=path,
                 callbacks=callbacks, progress=False, **options)  # fmt: skip
    return program, record


@pytest.mark.parametrize("kind", sorted(MAKE))
@pytest.mark.parametrize("stop", [1, 4, 5])
def test_a_resumed_run_continues_bitwise(tmp_path, kind, stop):
    whole, one = fitted(kind, tmp_path / "whole", 7)
    fitted(kind, tmp_path / "parts", 7, stop)
    parts, two = fitted(kind, tmp_path / "parts", 7, resume=True)
    assert all(torch.equal(v, parts.state_dict()[k]) for k, v in whole.state_dict().items())
    assert one.history == two.history and one.steps == two.steps == 7


def test_the_checkpoint_is_a_program_too(tmp_path):
    program, _ = fitted("vae", tmp_path / "run", 2)
    assert load(tmp_path / "run").formula == program.formula


def test_other_runs_are_refused_and_the_program_is_left_alone(tmp_path):
    def ppca(path: Path, objective, features: int = 3):
        program = PPCA(features, 1)
        before = program.mean.detach().clone()
        with pytest.raises(CheckpointError) as error:
            fit(program, X[:, :features], objective=objective, steps=3, checkpoint=path, resume=True)
        assert torch.equal(before, program.mean)
        return str(error.value)

    fit(PPCA(3, 1), X, objective=MaximumLikelihood(), steps=2, checkpoint=tmp_path / "run", seed=0)
    assert "another objective" in ppca(tmp_path / "run", ELBO())
    assert "another program" in ppca(tmp_path / "run", MaximumLikelihood(), features=2)
    save(PPCA(3, 1), tmp_path / "program")
    assert "no run" in ppca(tmp_path / "program", MaximumLikelihood())
