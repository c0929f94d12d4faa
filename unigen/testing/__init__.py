"""The laws that every program obeys: ``check_program(program)``."""

from unigen.testing.check import check_program

__all__ = ["check_program"]
