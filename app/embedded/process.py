"""Child processes that never outlive this one, however it ends (an exception, Ctrl-C, kill -9)."""

import fcntl
import importlib.util
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.errors import BotdataError

# The server runs under a shell whose standard input is a pipe from this process. When the pipe closes, because
# stop() closed it or because this process died, the shell's watcher sends the server the signal that stops it.
_WATCH = """
exec 3<&0
"$@" 3<&- </dev/null &
server=$!
{ read -r _ <&3; kill -"$STOP_SIGNAL" "$server"; } &
watcher=$!
exec 3<&- </dev/null
wait "$server"
status=$?
kill "$watcher" 2>/dev/null
exit "$status"
"""

_LOG_TAIL_LINES = 15
_POLL_SECONDS = 0.05


class EmbeddedServerError(BotdataError):
    """A server of the demo or the tests cannot be installed or started."""


def wheel_directory(wheel: str, name: str) -> Path:
    """Where a wheel's package is. Raises EmbeddedServerError where the wheel is missing."""
    # Found without importing it: an import may look for a runtime directory, and warn.
    spec = importlib.util.find_spec(wheel)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError(f"{name} is not installed; in the checkout, install it with: pip install '.[demo]'")
    return Path(spec.submodule_search_locations[0])


@contextmanager
def system_errors(failed: str) -> Iterator[None]:
    """Turns what the operating system refuses, such as a file or a full disk, into EmbeddedServerError."""
    try:
        yield
    except OSError as exc:
        raise EmbeddedServerError(f"{failed}: {exc}") from exc


class ServerProcess:
    """A server process in a session of its own, its output in a log file."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        name: str,
        log: Path,
        directory: Path,
        environment: Mapping[str, str],
        stop_signal: signal.Signals = signal.SIGTERM,
        user: str | None = None,
        inherited_files: Sequence[int] = (),
    ) -> None:
        """Starts `command` in `directory`, as the system user `user` (None: the current one).

        `inherited_files` are file descriptors that stay open in the server, such as that of a lock.
        """
        self.name = name
        self.log = log
        # The shell's script uses the low descriptors itself.
        inherited = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 10) for file in inherited_files]
        try:
            with log.open("ab") as output:
                self._log_start = output.tell()
                self._process = subprocess.Popen(
                    ["/bin/sh", "-c", _WATCH, name, *map(str, command)],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    cwd=directory,
                    env={**environment, "STOP_SIGNAL": stop_signal.name.removeprefix("SIG")},
                    start_new_session=True,  # Ctrl-C reaches this program alone, which then stops its servers
                    pass_fds=inherited,
                    user=user,
                    group=user and pwd.getpwnam(user).pw_gid,
                    extra_groups=user and [],
                )
        finally:
            for file in inherited:
                os.close(file)

    def wait_until(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Waits until `ready()` is true. Raises EmbeddedServerError if the process ends first or `seconds` pass."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self._process.poll() is not None:
                raise EmbeddedServerError(f"{self.name} ended at its start.{self._log_tail()}")
            if time.monotonic() > deadline:
                raise EmbeddedServerError(f"{self.name} did not answer in {seconds:.0f} s.{self._log_tail()}")
            time.sleep(_POLL_SECONDS)

    def stop(self, *, seconds: float = 20) -> None:
        """Asks the server to stop, and kills it and its children if it has not in `seconds`. May be called twice."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _log_tail(self) -> str:
        with self.log.open("rb") as text:
            text.seek(self._log_start)
            lines = text.read().decode(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        return f" The end of its log, {self.log}:\n" + "\n".join(f"  {line}" for line in lines)
