"""Servers of these tests' own: they are started, stopped and killed here."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.embedded import EmbeddedPostgres


@pytest.fixture
def server_directory() -> Iterator[Path]:
    """A directory that the server's user can enter, unlike those of `tmp_path` when the tests run as root."""
    directory = Path(tempfile.mkdtemp(prefix="botdata-test-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)  # a server that was left to stop by itself may still write


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres.start(durable=False) as server:
        yield server
