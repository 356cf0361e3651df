"""A directory for temporary files of each test's own, so that what a rehearsal leaves in it is seen."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def temporary(server_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of this process and of its children."""
    monkeypatch.setattr("app.rehearsal.directories.temporary_directory", lambda: server_directory)
    monkeypatch.setenv("TMPDIR", str(server_directory))
    return server_directory
