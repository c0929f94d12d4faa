"""Relations: theorems between families, as objects that convert and measure; see ``ug.relate``, ``ug.relation``."""

from unigen.relations.paths import find_paths
from unigen.relations.relate import convert, verify
from unigen.relations.relation import Relation, all_relations, register

__all__ = ["Relation", "all_relations", "convert", "find_paths", "register", "verify"]
