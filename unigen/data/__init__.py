"""Data sets: ``ug.data.digits()``, and toy distributions in ``unigen.data.toy``."""

from unigen.data.dataset import Dataset
from unigen.data.digits import digits

__all__ = ["Dataset", "digits"]
