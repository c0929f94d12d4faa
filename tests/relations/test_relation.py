"""The framework: registry, arrangement, refusal, and the text a reader sees."""

from __future__ import annotations

import math
from unittest import mock

import pytest
import torch

from unigen.errors import ArgumentError, ShapeError, UnknownNameError, UnsupportedQueryError
from unigen.models.mixture import GaussianMixture
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE, linear_vae
from unigen.relations import relation as registry
from unigen.relations.evidence import Claim, Evidence
from unigen.relations.relate import convert, relate, verify
from unigen.relations.relation import Relation, all_relations, register, relation


class Trivial(Relation):
    id = 9001
    name = "trivial"
    families = ("PPCA", "GaussianMixture")
    statement = "one is one"
    latex = "1 = 1"
    source = "Peano 1889"

    def check(self, *, one: float = 1.0) -> Evidence:
        return self.evidence(Claim("one", one, 1.0, 1e-9), Claim("two", 2.0, 2.0, 1e-9), note="a detail")

    def check_programs(self, a, b, data):
        return self.evidence(Claim("rows", float(data.shape[0]), float(data.shape[0]), 0.0), first=a.name)


@pytest.fixture
def registered():
    with mock.patch.dict(registry._REGISTRY):
        register(Trivial())
        yield


def test_registry_knows_the_files_of_the_package():
    known = {each.id: each for each in all_relations()}
    assert {1, 6} <= set(known)
    assert list(known) == sorted(known)
    assert relation(1) is known[1]
    for each in known.values():
        assert each.name and each.statement and each.source and each.latex and each.families, each


def test_unknown_number_lists_the_known():
    with pytest.raises(UnknownNameError, match=r"got 4711.*1 PPCA – linear VAE; .*6 ELBO – IWAE"):
        relation(4711)
    with pytest.raises(UnknownNameError):
        verify([1, 4711])


def test_a_number_is_taken_once(registered):
    class Other(Trivial):
        pass

    register(Trivial())
    with pytest.raises(ArgumentError, match="unused number"):
        register(Other())


def test_a_relation_of_ones_own_is_related_and_verified(registered):
    assert verify([9001])[0].holds
    found = relate(GaussianMixture(3, 2), PPCA(3, 1), torch.randn(7, 3))
    assert [e.id for e in found.evidence] == [9001]
    assert found.evidence[0].left == 7
    assert found.evidence[0].details == {"first": "PPCA"}  # in the order of `families`


def test_evidence_shows_the_most_strained_claim():
    evidence = Trivial().check(one=1.5)
    assert (evidence.left, evidence.right, evidence.gap, evidence.holds) == (1.5, 1.0, 0.5, False)
    text = str(evidence)
    assert "FAILS" in text and "FAIL  one: 1.5 = 1" in text and "ok    two" in text and "a detail" in text
    with pytest.raises(ArgumentError, match="at least one claim"):
        Trivial().evidence()


def test_evidence_with_nan_fails():
    evidence = Trivial().check(one=math.nan)
    assert not evidence.holds
    assert math.isnan(evidence.left)


def test_arrangement():
    ppca, mixture, vae = PPCA(3, 1), GaussianMixture(3, 2), VAE(3, 1)
    trivial = Trivial()
    assert trivial.arrange(mixture, ppca) == (ppca, mixture)
    assert trivial.arrange(ppca, mixture) == (ppca, mixture)
    assert trivial.arrange(ppca, ppca) is None
    assert trivial.arrange(ppca, vae) is None
    assert trivial.arrange(ppca) is None
    alone = relation(6)
    assert alone.arrange(vae) == (vae, vae)
    assert alone.arrange(vae, vae) == (vae, vae)
    assert alone.arrange(vae, ppca) is None


def test_relate_says_when_nothing_is_known():
    text = str(relate(GaussianMixture(3, 2), GaussianMixture(3, 2)))
    assert "no relation is known" in text


def test_relate_prints_theorem_source_and_residual():
    ppca = PPCA(5, 2).double()
    ppca.solve(torch.randn(200, 5).double() * torch.tensor([3.0, 2, 1, 1, 1]))
    text = str(relate(convert(ppca, to="VAE"), ppca))
    for part in ("PPCA – linear VAE", "Tipping & Bishop", "assumes:", "holds", "1000 draws from VAE", "gap"):
        assert part in text
    text = str(relate(ppca, VAE(5, 2)))
    assert "not measured here" in text and "affine" in text


def test_relate_takes_a_dataset_and_refuses_bad_data():
    class Data:
        test = torch.randn(30, 5)

    ppca = PPCA(5, 2)
    assert "30 given examples" in str(relate(ppca, linear_vae(5, 2), Data()))
    with pytest.raises(ShapeError):
        relate(ppca, linear_vae(5, 2), torch.randn(30, 4))


def test_defaults_refuse():
    class Bare(Trivial):
        check_programs = Relation.check_programs

    with pytest.raises(UnsupportedQueryError, match=r"relation\(9001\).check"):
        Bare().check_programs(PPCA(3, 1), GaussianMixture(3, 2), torch.zeros(1, 3))
    with pytest.raises(UnsupportedQueryError, match="licenses no conversion"):
        Bare().convert(PPCA(3, 1), to="GaussianMixture")


def test_convert_names_the_failing_assumption():
    with pytest.raises(UnsupportedQueryError, match="encoder and decoder are affine"):
        convert(VAE(3, 1), to="PPCA")
    with pytest.raises(UnsupportedQueryError, match="no relation links"):
        convert(PPCA(3, 1), to="Nonesuch")
