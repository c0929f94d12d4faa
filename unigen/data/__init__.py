"""Data sets: ``digits`` (bundled), ``mnist``, ``binarised_mnist``, ``shakespeare``; toys in ``unigen.data.toy``."""

from unigen.data.binarised_mnist import binarised_mnist
from unigen.data.dataset import Dataset
from unigen.data.digits import digits
from unigen.data.mixed_table import MixedTable, mixed_table
from unigen.data.mnist import mnist
from unigen.data.text import shakespeare

__all__ = ["Dataset", "MixedTable", "binarised_mnist", "digits", "mixed_table", "mnist", "shakespeare"]
