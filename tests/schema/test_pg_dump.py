"""Which pg_dump and pg_restore are used together."""

from pathlib import Path

import pytest

from app.errors import MigrationError
from app.next_step import NextStep
from app.schema.pg_dump import PgDump, find_pg_dump


def _program(directory: Path, name: str, version: int) -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}.3'\n")
    path.chmod(0o755)
    return path


async def _find(wanted: Path) -> PgDump | None:
    return await find_pg_dump(str(wanted), 17, step="adopt", otherwise=NextStep("another"))


async def test_an_older_pg_restore_of_path_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "path"), prepend=None)
    dump, other = _program(tmp_path / "new", "pg_dump", 18), _program(tmp_path / "path", "pg_restore", 17)
    with pytest.raises(MigrationError, match="of version 18 has no pg_restore beside it, and PATH has none"):
        await _find(dump)
    _program(tmp_path / "path", "pg_restore", 18)
    assert await _find(dump) == PgDump(dump, other, newer=True)
    _program(tmp_path / "new", "pg_restore", 17)
    assert await _find(dump) == PgDump(dump, other, newer=True)
    beside = _program(tmp_path / "new", "pg_restore", 18)
    assert await _find(dump) == PgDump(dump, beside, newer=True)


async def test_a_pg_dump_that_is_too_old_or_none(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="is of version 16"):
        await _find(_program(tmp_path / "old", "pg_dump", 16))
    with pytest.raises(MigrationError, match="cannot be run"):
        await _find(tmp_path / "nothing")
