"""The spool file: whose it is, what it holds, and what becomes of it when its process has died."""

from __future__ import annotations

import asyncio
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.cutover.replication.to_postgres.fallback_file import FallbackFile, Left

ANNA, BORIS = [("7", "1")], [("8", "1"), ("9", "1")]


async def taken_by(spool: FallbackFile) -> list[Left]:
    found: list[Left] = []

    async def bring(left: Left) -> None:
        found.append(left)

    await spool.take_over(bring)
    return found


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A full disk, as far as a process can have one of its own: files do not grow past `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def another_process(directory: Path, name: str) -> Iterator[None]:
    """A process that has a note in its spool file; killed at the end of the block."""
    code = (
        "import asyncio, sys, pathlib\nfrom app.cutover.replication.to_postgres.fallback_file import FallbackFile\n"
        "spool = FallbackFile(pathlib.Path(sys.argv[1]), sys.argv[2])\n"
        "asyncio.run(spool.append('clients', [('7', '1')]))\nprint('written', flush=True)\nsys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(directory), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        yield
    finally:
        process.kill()
        process.communicate()


def files(directory: Path) -> list[Path]:
    return list(directory.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_it_is_its_owner_s_alone_and_goes_when_nothing_in_it_is_needed(tmp_path: Path) -> None:
    spool = FallbackFile(tmp_path / "made" / "spool", "host:1:abc")
    await spool.append("clients", ANNA)
    (path,) = files(tmp_path / "made" / "spool")
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert path.read_text() == '{"table":"clients","keys":[["7","1"]]}\n'
    await spool.append("services", BORIS)
    await spool.settle()
    assert len(path.read_text().splitlines()) == 2
    await spool.settle()
    assert path.read_text() == ""
    await spool.append("clients", ANNA)
    assert path.read_text() == '{"table":"clients","keys":[["7","1"]]}\n'
    await spool.settle()
    await spool.close()
    assert files(path.parent) == []


async def test_a_living_process_s_file_is_left_alone_and_a_dead_one_s_is_taken_once(tmp_path: Path) -> None:
    ours, theirs = FallbackFile(tmp_path, "host:1:abc"), FallbackFile(tmp_path, "host:3:123")
    with another_process(tmp_path, "host:2:def"):
        assert await taken_by(ours) == []
    both = await asyncio.gather(taken_by(ours), taken_by(theirs))
    assert sorted(map(len, both)) == [0, 1]
    assert [left for some in both for left in some] == [Left("host:2:def", [("clients", ANNA)], 0)]
    assert files(tmp_path) == []
    await ours.close()
    await theirs.close()


async def test_what_could_not_be_brought_in_waits(tmp_path: Path) -> None:
    dead = FallbackFile(tmp_path, "host:2:def")
    await dead.append("clients", ANNA)
    await dead.close()

    async def fail(left: Left) -> None:
        raise ConnectionError

    ours = FallbackFile(tmp_path, "host:1:abc")
    with pytest.raises(ConnectionError):
        await ours.take_over(fail)
    assert await taken_by(ours) == [Left("host:2:def", [("clients", ANNA)], 0)]
    await ours.close()


async def test_a_line_that_was_cut_is_no_note_and_one_that_is_none_is_counted(tmp_path: Path) -> None:
    (tmp_path / "host%3A2%3Adef.notes").write_text(
        '{"table":"clients","keys":[["7","1"]]}\nnothing\n{"table":"clients"}\n{"table":"clients","keys":[["8","1"'
    )
    ours = FallbackFile(tmp_path, "host:1:abc")
    assert await taken_by(ours) == [Left("host:2:def", [("clients", ANNA)], 2)]
    await ours.close()


async def test_a_full_disk_is_an_error_and_leaves_no_half_line(tmp_path: Path) -> None:
    spool = FallbackFile(tmp_path, "host:1:abc")
    await spool.append("clients", ANNA)
    with files_of_at_most(50), pytest.raises(OSError, match="File too large"):
        await spool.append("services", BORIS)
    assert [path.read_text() for path in files(tmp_path)] == ['{"table":"clients","keys":[["7","1"]]}\n']
    await spool.append("services", BORIS)
    await spool.close()
    ours = FallbackFile(tmp_path, "host:3:123")
    assert await taken_by(ours) == [Left("host:1:abc", [("clients", ANNA), ("services", BORIS)], 0)]
    await ours.close()


async def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    spool = FallbackFile(tmp_path / "file" / "spool", "host:1:abc")
    with pytest.raises(NotADirectoryError):
        await spool.append("clients", ANNA)
    assert await taken_by(spool) == []
    await spool.close()


async def test_a_note_that_settles_after_the_end_changes_nothing(tmp_path: Path) -> None:
    spool = FallbackFile(tmp_path, "here:1:abcdef")
    await spool.append("clients", ANNA)
    await spool.close()
    await spool.settle()
    (left,) = await taken_by(FallbackFile(tmp_path, "here:2:abcdef"))
    assert left.writes == [("clients", ANNA)]


@pytest.mark.parametrize("how", ["file", "directory", "content"])
async def test_what_comes_after_somebody_took_the_file_away_is_kept(tmp_path: Path, how: str) -> None:
    directory = tmp_path / "spool"
    spool = FallbackFile(directory, "a")
    await spool.append("clients", ANNA)
    (file,) = directory.iterdir()
    if how == "content":
        file.write_bytes(b"")
    elif how == "file":
        file.unlink()
    else:
        shutil.rmtree(directory)
    await spool.append("clients", BORIS)
    await spool.close()  # as given up with what it holds
    assert await taken_by(FallbackFile(directory, "b")) == [Left("a", [("clients", BORIS)], 0)]
