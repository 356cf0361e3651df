"""Fixtures of the examples' tests: the stores are those of the cutover's loads."""

from tests.cutover.conftest import load_servers, servers

__all__ = ["load_servers", "servers"]
