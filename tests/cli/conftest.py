"""Fixtures of the command line's tests; the sources are those of the engine's."""

from pathlib import Path

import pytest

from tests.cli.command import Command
from tests.cutover.conftest import cutover_supabase, pair, tool_template
from tests.migration.conftest import pages, source_database

__all__ = ["command", "cutover_supabase", "pages", "pair", "source_database", "tool_template"]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """`botdata` in this process."""
    return Command(monkeypatch, capsys, tmp_path)
