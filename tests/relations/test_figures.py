"""Every relation has a figure that draws; those with a picture of their own have titled axes with something in them."""

from __future__ import annotations

import pytest

from unigen.relations.relation import Relation, all_relations

OWN = (1, 2, 3, 4, 5, 6, 7, 11, 12, 15, 16, 18, 19, 20, 26, 30, 31, 32, 33, 34)


@pytest.mark.parametrize("number", OWN)
def test_a_picture_of_its_own_draws(number, tmp_path):
    relation = next(each for each in all_relations() if each.id == number)
    assert type(relation).figure is not Relation.figure
    figure = relation.figure()
    figure.savefig(tmp_path / "figure.png", dpi=40)
    assert figure.axes and all(axes.has_data() and axes.get_title(loc="left") for axes in figure.axes)
    figure.clear()


def test_the_others_draw_their_claims(monkeypatch):
    relation = next(each for each in all_relations() if each.id == 3)
    figure = Relation.figure(relation, latents=1)
    assert len(figure.axes[0].get_yticklabels()) == len(relation.check(latents=1).claims)
    assert str(relation.statement)[:30] in figure.get_suptitle().replace("\n", " ")
