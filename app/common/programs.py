"""Runs another program to its end, and ends it where the caller is cancelled."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Ended(NamedTuple):
    """How a program ended: its exit code, its output (empty where that went to a file), and what it said of errors."""

    code: int
    out: bytes
    said: str


async def run_program(
    *arguments: str | Path, environment: Mapping[str, str], directory: Path | None = None, stdout: int | None = None
) -> Ended:
    """Run a program without input.

    Args:
        arguments: the program first.
        directory: where it works; None: here.
        stdout: a file's descriptor, or `asyncio.subprocess.DEVNULL`, for its output; None: it is given back.

    Raises:
        OSError: there is no such program, or it may not be run.
    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *arguments, cwd=directory, env=environment, stdin=asyncio.subprocess.DEVNULL,
        stdout=pipe if stdout is None else stdout, stderr=pipe,
    )  # fmt: skip
    try:
        out, said = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return Ended(process.returncode, out or b"", said.decode("utf-8", "replace").strip())
