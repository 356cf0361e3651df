"""Output that does not arrive, an encoding that cannot hold it, and interrupts: some words and an exit code."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.running import run_async
from tests.cli.command import BOTDATA, VARIABLES, start
from tests.migration.engine import add_clients, execute
from tests.support import faults
from tests.support.faults import Delivery, Fault, Request
from tests.support.in_process import run_here
from tests.support.page_server import PageServer

_SECONDS = 60
_NAME = "Ёлка 😀"
_STOPPED = "\nStopped.\n"


@pytest.fixture
def settings(pages: PageServer, source_database: str, database_url: str) -> dict[str, str]:
    """A source with 300 clients, and a target without any."""
    add_clients(source_database, 300)
    execute(source_database, f"UPDATE clients SET name = '{_NAME}' WHERE id = 1")
    return {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key, "DATABASE_URL": database_url}


@pytest.fixture(params=["full", "closed"])
def lost(request: pytest.FixtureRequest) -> Iterator[int]:
    """The file descriptor of an output that takes nothing: a full device, and a pipe that nobody reads."""
    if request.param == "full":
        descriptor = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, descriptor = os.pipe()
        os.close(reader)
    yield descriptor
    os.close(descriptor)


def _run(
    directory: Path, *words: str, stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    inherited = {name: text for name, text in os.environ.items() if name not in VARIABLES}
    return subprocess.run(
        [BOTDATA, *words],
        cwd=directory,
        env={**inherited, **environment},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        timeout=_SECONDS,
        check=False,
    )


@pytest.fixture
def different(settings: dict[str, str], database_url: str, tmp_path: Path) -> dict[str, str]:
    """Those settings, once the clients were copied and one name was changed at the target."""
    assert run_here(["copy", "--tables", "clients"], tmp_path, settings).code == 0
    execute(database_url, "UPDATE clients SET name = 'x' WHERE id = 1")
    return settings


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", "'Ёлка 😀'"), ("cp1251", r"'Ёлка \U0001f600'"), ("ascii", r"\u0430 \U0001f600'")]
)
def test_values_that_the_encoding_cannot_hold_are_escaped(
    different: dict[str, str], tmp_path: Path, encoding: str, shown: str
) -> None:
    words = _run(tmp_path, "verify", "--tables", "clients", "--show-values", **different, PYTHONIOENCODING=encoding)
    assert (words.returncode, b"Traceback" in words.stderr) == (1, False)
    assert shown in words.stdout.decode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "cp1251", "ascii"])
def test_a_document_escapes_what_the_encoding_cannot_hold(
    different: dict[str, str], tmp_path: Path, encoding: str
) -> None:
    document = _run(tmp_path, "verify", "--tables", "clients", "--json", **different, PYTHONIOENCODING=encoding)
    (difference,) = json.loads(document.stdout.decode(encoding))["tables"][0]["differences"]
    assert difference["source"] == _NAME
    assert (_NAME in document.stdout.decode(encoding)) == (encoding == "utf-8")


_LOST = (b"botdata stopped: No space left on device", b"botdata stopped: Broken pipe")


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("copy", "--help")])
def test_an_output_that_is_lost(tmp_path: Path, lost: int, words: tuple[str, ...]) -> None:
    outcome = _run(tmp_path, *words, stdout=lost)
    (line,) = outcome.stderr.splitlines()
    assert (outcome.returncode, line in _LOST) == (1, True)
    assert _run(tmp_path, *words, stdout=lost, stderr=lost).returncode == 1


@pytest.mark.parametrize("options", [("--json",), ("--show-values",), ()])
def test_a_report_that_is_lost(settings: dict[str, str], tmp_path: Path, lost: int, options: tuple[str, ...]) -> None:
    outcome = _run(tmp_path, "verify", "--tables", "clients", *options, stdout=lost, **settings)
    *progress, line = outcome.stderr.splitlines()
    assert (outcome.returncode, line in _LOST) == (1, True)
    assert all(said.startswith(b"verify clients: ") for said in progress)


def test_a_report_without_differences_that_is_lost(settings: dict[str, str], tmp_path: Path, lost: int) -> None:
    outcome = _run(tmp_path, "copy", stdout=lost, **settings)
    assert (outcome.returncode, outcome.stderr.splitlines()[-1] in _LOST) == (1, True)


def test_progress_that_is_lost(settings: dict[str, str], tmp_path: Path, lost: int) -> None:
    outcome = _run(tmp_path, "copy", stderr=lost, **settings)
    assert outcome.returncode == 1
    assert b"rows copied" not in outcome.stdout
    again = run_here(["copy"], tmp_path, settings)
    assert (again.code, "copy complete" in again.out) == (0, True)


@pytest.mark.parametrize("words", ["--version", "--help"])
def test_an_output_that_was_never_open(tmp_path: Path, words: str) -> None:
    shell = ["sh", "-c", '"$0" "$1" >&-', BOTDATA, words]
    outcome = subprocess.run(shell, cwd=tmp_path, capture_output=True, timeout=_SECONDS, check=False)
    assert (outcome.returncode, outcome.stderr) == (0, b"")


def test_an_interrupted_verify_does_not_claim_to_go_on(
    pages: PageServer, settings: dict[str, str], tmp_path: Path
) -> None:
    hanging = faults.delivered(Delivery.NEVER)
    reached: list[Request] = []

    def hang(request: Request) -> Fault | None:
        reached.append(request)
        return hanging

    pages.hook = hang
    with start("verify", directory=tmp_path, **settings) as process:
        try:
            for _ in range(_SECONDS * 20):
                pages.stopping.wait(0.05)
                if reached or process.poll() is not None:
                    break
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=_SECONDS)
        finally:
            process.kill()
    assert (process.returncode, err[-len(_STOPPED) :]) == (130, _STOPPED)
    assert "Traceback" not in err


_INTERRUPTED_IMPORT = """
import signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[-1]:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from app.cli.main import run
run()
"""


@pytest.mark.parametrize("module", ["typer", "app.cli.commands.demo"])
@pytest.mark.parametrize("command", ["verify", "copy"])
def test_an_interrupt_during_the_imports(tmp_path: Path, command: str, module: str) -> None:
    program = [sys.executable, "-c", _INTERRUPTED_IMPORT, command, module]
    outcome = subprocess.run(program, cwd=tmp_path, capture_output=True, timeout=_SECONDS, check=False, text=True)
    kept = " What was done is kept; the same command goes on from there." if command == "copy" else ""
    assert (outcome.returncode, outcome.stderr) == (130, f"\nStopped.{kept}\n")


def test_what_libraries_warn_of_an_error_that_is_told_is_not_told_besides() -> None:
    run_async(asyncio.sleep(0))
    assert not any(logging.getLogger(name).isEnabledFor(logging.WARNING) for name in ("psycopg", "stamina"))
