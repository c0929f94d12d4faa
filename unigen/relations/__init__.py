"""Relations: theorems between families, as objects that convert and measure."""

from unigen.relations.atlas import atlas
from unigen.relations.relate import convert, relate, verify
from unigen.relations.relation import Relation, all_relations, register, relation

__all__ = ["Relation", "all_relations", "atlas", "convert", "register", "relate", "relation", "verify"]
