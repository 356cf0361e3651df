"""Fixtures of the command line's tests; the sources are those of the engine's."""

from pathlib import Path

import pytest

from tests.cli.command import Command
from tests.migration.conftest import pages, source_database

__all__ = ["command", "pages", "source_database"]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """`botdata` in this process."""
    return Command(monkeypatch, capsys, tmp_path)
