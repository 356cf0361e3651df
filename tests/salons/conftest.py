"""The fixtures of these tests."""

from tests.salons.opening import opening, target

__all__ = ["opening", "target"]
