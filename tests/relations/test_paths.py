"""Paths through other families: what they are, programs carried along them, and where theorems stop."""

from __future__ import annotations

import time

import pytest
import torch

import unigen as ug
from unigen.errors import NotFittedError, ShapeError, UnknownNameError, UnsupportedQueryError
from unigen.models.factor_analysis import FactorAnalysis
from unigen.models.flow import NSF
from unigen.models.gan import GAN
from unigen.models.hidden_markov import HiddenMarkov
from unigen.models.made import MADE
from unigen.models.pca import PCA
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.relations.paths import MOST, carry, convert_along, family_graph, find_paths, follow
from unigen.relations.relate import convert, relate
from unigen.relations.relation import all_relations


def fitted(program, x):
    program = program.double()
    ug.fit(program, x, steps=20)
    return program


def cloud(n: int = 500) -> torch.Tensor:
    return torch.randn(n, 5).double() * torch.tensor([3.0, 2, 1, 0.5, 0.5])


def test_the_graph_has_every_pair_of_every_theorem_and_the_base_classes():
    graph = family_graph()
    for each in all_relations():
        for a in each.families:
            for b in each.families:
                if a != b and "Program" not in (a, b):
                    assert each in graph.edges[a, b]["relations"]
    assert graph.edges["MAF", "FlowProgram"]["relations"] == ()
    assert "Program" not in graph


def test_shortest_paths_first_and_no_detours():
    paths = find_paths(FactorAnalysis(3, 1), VAE(3, 1))
    assert {path.families for path in paths} == {
        ("FactorAnalysis", "PPCA", "VAE"),
        ("FactorAnalysis", "PCA", "VAE"),
    }
    assert [path.theorems for path in paths] == [2, 2]
    (first, *_) = find_paths(MADE(2), VAE(2, 1))
    assert first.families == ("MADE", "MAF", "Flow", "VAE") and first.theorems == 2
    assert "MAF and Flow: one is a special case" in str(first) and "FlowProgram" not in str(first)
    assert len(find_paths(FactorAnalysis(3, 1), MADE(3), longest=9)) <= MOST
    assert find_paths(FactorAnalysis(3, 1), VAE(3, 1), longest=1) == []
    assert find_paths(PPCA(3, 1), PPCA(3, 1)) == []
    assert find_paths(HiddenMarkov(3, 2), PPCA(3, 1)) == []


def test_a_program_is_carried_to_the_theorem_at_the_end():
    x = cloud()
    pca, vae = fitted(PCA(5, 2), x), ug.convert(fitted(PPCA(5, 2), x), to="VAE")
    path = next(p for p in find_paths(pca, vae) if p.families == ("PCA", "PPCA", "VAE"))
    found = follow(path, pca, vae, x)
    assert [type(p).__name__ for p in found.carried] == ["PCA", "PPCA"]
    assert found.stopped is None and {1, 33} == {e.id for e in found.evidence}
    assert all(e.holds for e in found.evidence)


def test_the_second_program_is_carried_back_where_the_first_cannot_go():
    flow, ppca = NSF(5, hidden=(8,), transforms=2), fitted(PPCA(5, 2), cloud()).float()
    (path,) = (p for p in find_paths(flow, ppca) if p.families == ("Flow", "VAE", "PPCA"))
    found = follow(path, flow, ppca, cloud().float())
    assert [p.name for p in found.carried] == ["PPCA", "VAE"]
    assert [e.id for e in found.evidence] == [19] and found.evidence[0].holds


def test_where_a_theorem_stops_the_path_says_why():
    x = cloud(50)
    fa = fitted(FactorAnalysis(5, 2), x)
    path = find_paths(fa, VAE(5, 2))[0]
    found = follow(path, fa, VAE(5, 2).double(), x)
    assert found.evidence == () and "one noise variance" in str(found.stopped)
    assert "no further" in str(found)


def test_conversion_along_a_chain_equals_its_links():
    x = cloud()
    pca = fitted(PCA(5, 2), x)
    vae = convert(pca, to="VAE")
    by_hand = ug.convert(ug.convert(pca, to="PPCA"), to="VAE")
    torch.testing.assert_close(vae.reconstruct(x), by_hand.reconstruct(x))
    maf = fitted(PPCA(5, 2), x)
    assert carry(maf, find_paths(maf, VAE(5, 2))[0].steps)[1] is None


def test_refusals_name_the_assumption():
    with pytest.raises(UnsupportedQueryError, match=r"VAE → PPCA.*encoder and decoder are affine"):
        convert_along(VAE(3, 1), "FactorAnalysis")
    with pytest.raises(UnsupportedQueryError, match="no relation links"):
        convert_along(HiddenMarkov(3, 2), "PPCA")
    with pytest.raises(UnknownNameError, match=r"expected one of .*PPCA"):
        convert_along(PPCA(3, 1), "Nonesuch")
    with pytest.raises(UnsupportedQueryError, match="not every Flow is a MAF"):
        convert_along(NSF(3, hidden=(8,)), "MADE")


def test_a_base_class_goes_by_the_fields_word():
    made = ug.relation(16).convert(fitted(PPCA(3, 1), cloud()[:, :3]), to="MADE")
    assert convert_along(made, "Flow").name == "MAF"
    with pytest.raises(UnknownNameError, match=r"expected one of .* Flow,"):
        convert_along(made, "Nonesuch")


def test_relate_explains_paths_and_theorems_about_one():
    x = cloud()
    pca, vae = fitted(PCA(5, 2), x), ug.convert(fitted(PPCA(5, 2), x), to="VAE")
    start = time.process_time()
    text = str(relate(pca, vae, x))
    assert time.process_time() - start < 30
    for part in ("through other families", "PCA → PPCA → VAE", "carried over: PCA → PPCA", "relation 1 holds",
                 "about VAE alone: 2 VAE – posterior collapse"):  # fmt: skip
        assert part in text
    assert "through other families" not in str(relate(pca, vae, x, through=1))
    assert "no theorem links the two directly" in str(relate(FactorAnalysis(5, 2).double(), vae, x))
    assert "about GAN alone: 20" in str(relate(GAN(5), PPCA(5, 1)))


def test_bad_input():
    with pytest.raises(ShapeError, match=r"event shapes \(3,\) and \(4,\)"):
        relate(PPCA(3, 1), VAE(4, 1))
    text = str(relate(PPCA(3, 1), PCA(3, 1), torch.randn(9, 3)))
    assert "not measured here" in text and "parameters at the optimum" in text  # an unfitted model, in words
    with pytest.raises(NotFittedError):
        ug.relation(3).check_programs(PPCA(3, 1), PCA(3, 1), torch.randn(9, 3))
