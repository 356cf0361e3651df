"""A load on the data layer: bot processes at work, and the stages moved under them by the owner's commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from app.cutover.stages import Stage, Store
from tests.cutover.history import History
from tests.cutover.servers import Servers

_STARTING = 120.0  # seconds
_CLOSING = 40.0


class Bots:
    """Processes of a program, `tests.cutover.bot_process` unless it is named, working until the end of the block."""

    def __init__(
        self,
        servers: Servers,
        count: int,
        name: str = "load",
        first: int = 0,
        program: str = "tests.cutover.bot_process",
        **environment: str,
    ) -> None:
        self._servers = servers
        self.logs = [servers.directory / f"{name}.{first + n}.log" for n in range(count)]
        self._errors = [log.with_suffix(".err") for log in self.logs]
        for path in (*self.logs, *self._errors):
            path.unlink(missing_ok=True)
        self.processes = []
        for number, (log, errors) in enumerate(zip(self.logs, self._errors, strict=True), first + 1):
            with errors.open("wb") as output:
                self.processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", program, log, str(number)],
                        env=servers.environment(**environment),
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                    )
                )

    def wait_until_ready(self) -> None:
        """Until every process has opened its data layer."""
        deadline = time.monotonic() + _STARTING
        while not all(log.exists() and b'["ready"' in log.read_bytes() for log in self.logs):
            for process, errors in zip(self.processes, self._errors, strict=True):
                assert process.poll() is None, f"a process ended at its start:\n{errors.read_text()}"
            assert time.monotonic() < deadline, "the processes do not start"
            time.sleep(0.1)

    def write_on(self, count: int, *, seconds: float = 60) -> None:
        """Wait until they have had so many more writes acknowledged."""
        deadline, enough = time.monotonic() + seconds, self.history.acknowledged + count
        while self.history.acknowledged < enough:
            assert time.monotonic() < deadline, f"{count} writes are not done:\n{self.said()}"
            time.sleep(0.2)

    def stop(self) -> None:
        """SIGTERM to each that still runs, and wait; AssertionError where one fails to end well."""
        running = [process for process in self.processes if process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _CLOSING
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"a process did not end within {_CLOSING:g} s of SIGTERM") from None
        for process, errors in zip(self.processes, self._errors, strict=True):
            assert process.returncode in {0, -signal.SIGKILL}, errors.read_text()
            assert "Traceback" not in errors.read_text(), errors.read_text()

    def kill(self) -> None:
        """`kill -9` to each that still runs."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            process.wait()

    @property
    def history(self) -> History:
        """What they have done so far."""
        return History.read(self.logs)

    def said(self) -> str:
        """Their standard error, for a failure's message."""
        return "\n".join(path.read_text() for path in self._errors if path.stat().st_size)

    def __enter__(self) -> Self:
        try:
            self.wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exception_type is not None:
            self.kill()
        else:
            self.stop()


def settle(servers: Servers, bots: Bots, *, seconds: float = 120) -> None:
    """Wait until every process reports again and has nothing on its way to the other store."""
    deadline = time.monotonic() + seconds
    running = sum(process.poll() is None for process in bots.processes)
    statement = (
        "SELECT count(*) FILTER (WHERE reported_at > clock_timestamp() - interval '2 seconds' AND spooled = 0 "
        "AND problem IS NULL) FROM botdata.processes"
    )
    while servers.ask(Store.POSTGRES, statement)[0][0] < running:
        assert sum(process.poll() is None for process in bots.processes) == running, bots.said()
        assert time.monotonic() < deadline, servers.botdata("cutover", "status", refusable=True).text
        time.sleep(0.2)


def forget_the_dead(servers: Servers) -> None:
    """`botdata cutover forget` for every process in the list; none of them may run any more."""
    for (name,) in servers.ask(Store.POSTGRES, "SELECT name FROM botdata.processes"):
        servers.botdata("cutover", "forget", name, "--force", "killed by a test")


THRESHOLDS = ("--comparisons", "1")  # of each method in use; the load of a test is short


def _wait_until_followed(servers: Servers, to: Stage, said: str, *, seconds: float = 60) -> None:
    """Wait until every process reports a stage; on a machine that is busy, later than the command waits for it."""
    deadline = time.monotonic() + seconds
    while servers.ask(Store.POSTGRES, f"SELECT name FROM botdata.processes WHERE stage <> '{to}'"):
        assert time.monotonic() < deadline, said
        time.sleep(0.2)


def step(servers: Servers, to: Stage, *, seconds: float = 300) -> None:
    """Move by one stage as the owner does: what the gate asks for first, and again while it refuses for the load."""
    here = Stage(servers.stage)
    if here.next is to:
        command = ["cutover", "advance", *THRESHOLDS]
    else:
        assert here.previous is to, f"{to} is not one step from {here}"
        command = ["cutover", "back"]
    deadline = time.monotonic() + seconds
    while True:
        if to in {Stage.SHADOW, Stage.LIVE} and here.next is to:
            servers.botdata("sync")
            servers.botdata("verify", refusable=True)
        said = servers.botdata(*command, refusable=True)
        if servers.stage == to:
            _wait_until_followed(servers, to, said.text)
            return
        assert time.monotonic() < deadline, f"botdata {' '.join(command)}:\n{said.text}"
        time.sleep(1)


def there_and_back() -> Iterator[Stage]:
    """The stages after `off`, to `complete` and back to `off`."""
    order = list(Stage)
    yield from order[1:]
    yield from reversed(order[:-1])


def go_to(servers: Servers, stage: Stage) -> None:
    """Advance while no process is there yet, which the gates would refuse."""
    while servers.stage != stage:
        servers.botdata("cutover", "advance", "--force", "the bot of the test starts later")
