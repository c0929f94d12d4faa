"""One row: its numbers against those of the queries called by hand; a failure stays in its row."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import unigen as ug
from tests.study.catalogue_stub import small
from unigen.data.digits import digits
from unigen.evaluate.permutation import median_distance
from unigen.evaluate.two_sample import mmd
from unigen.inference.persist import load
from unigen.study import worker


def test_slugs():
    assert worker.slug("VAE, NSF prior") == "vae-nsf-prior"
    assert worker.slug("WGAN-GP") == "wgan-gp"


def test_a_row_says_what_the_queries_say(monkeypatch, tmp_path):
    small(monkeypatch)
    row, data = worker.fit_row("PPCA", tmp_path, True, 0), digits()
    direct = ug.PPCA(64, latents=4)
    direct.solve(data.train)
    mean = direct.log_prob(data.test).mean()
    assert row["error"] == "" and (row["kind"], row["scored"]) == ("exact", 250)
    assert row["nats"] == pytest.approx(mean.value, rel=1e-4)
    assert row["bits_per_dim"] == pytest.approx((64 * np.log(17) - mean.value) / (64 * np.log(2)), rel=1e-3)
    assert row["parameters"] == 64 * 4 + 64 + 1
    kept = load(tmp_path / "ppca.safetensors")
    draws, held = kept.sample(500, seed=0), torch.cat([data.validation, data.test])
    assert row["mmd"] == pytest.approx(
        mmd(draws, held, bandwidth=median_distance(held), permutations=0).value, rel=1e-3
    )
    with np.load(tmp_path / "ppca.npz") as arrays:
        np.testing.assert_allclose(arrays["draws"], draws[:100].numpy(), atol=1e-6)
        np.testing.assert_allclose(arrays["latent"], kept.encode(data.test).numpy(), atol=1e-5)
        carried = ug.process(kept, data.test, n=3, steps=4, seed=0)
        assert carried.forward is not None
        np.testing.assert_allclose(arrays["process_forward_1"], carried.forward[1].numpy(), atol=1e-5)
        np.testing.assert_allclose(arrays["process_reverse_1"], carried.reverse[1].numpy(), atol=1e-5)


def test_a_row_without_density_says_why(monkeypatch, tmp_path):
    small(monkeypatch)
    row = worker.fit_row("GAN & co", tmp_path, True, 0)
    assert row["error"] == "" and row["steps"] == 2
    assert row["nats"] is None and row["kind"] == "no density" and "no density" in row["why_not"]
    assert 0.4 < row["classifier"] <= 1.0


def test_a_failure_is_reported_in_its_row(monkeypatch, tmp_path):
    small(monkeypatch, fails=True)
    row = worker.fit_row("Broken", tmp_path, True, 0)
    assert row["error"] == "RuntimeError: a <broken> row" and row["family"] == ""


def test_a_relation_on_rows_that_failed_is_refused_and_its_example_stays(tmp_path):
    found = worker.measure(1, ("PPCA", "Linear VAE"), tmp_path, 0)
    assert found["example"]["holds"] is True and "measured" not in found and found["refused"]
    assert found["error"] == ""


def test_a_relation_that_crashes_does_not_hold(monkeypatch, tmp_path):
    class Crash(type(worker.relation(1))):
        def check(self, **_):
            raise ZeroDivisionError("no")

    monkeypatch.setattr(worker, "relation", lambda _: Crash())
    found = worker.measure(1, ("PPCA",), tmp_path, 0)
    assert found["error"] == "ZeroDivisionError: no" and found["example"]["holds"] is False
