"""Fixtures of preflight's tests; the sources are those of the engine's."""

from tests.migration.conftest import lite_with_row_cap, pages, source, source_database

__all__ = ["lite_with_row_cap", "pages", "source", "source_database"]
