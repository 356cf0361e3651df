"""Entry point of `botdata`: errors, signals and a lost output become a few lines and an exit code.

Imports nothing slow by itself, so that an interrupt during the imports finds its handler in place.
"""

from __future__ import annotations

import os
import sys

_INTERRUPTED = 130  # Typer's exit code after a KeyboardInterrupt
_RESUMED = (["copy"], ["migrate"])


def run() -> None:
    """Carry out the command line and exit."""
    lost = False
    try:
        code = _carry_out()
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except OSError as error:
        lost = True
        code = _stopped(error)
    if code == _INTERRUPTED:
        kept = " What was done is kept; the same command goes on from there." if sys.argv[1:2] in _RESUMED else ""
        _complain(f"\nStopped.{kept}")
    sys.exit(_flush(told=lost) or code)


def _carry_out() -> str | int | None:
    import signal

    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # both end a command the same way
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for as long as the process lives
        if reconfigure := getattr(getattr(sys, name), "reconfigure", None):
            reconfigure(errors="backslashreplace")  # a value may hold what the terminal's encoding has not
    from app.cli.commands import cli
    from app.errors import BotdataError

    try:
        cli()
    except BotdataError as error:
        from app.cli.output import show_error

        show_error(error)
        return 1
    except SystemExit as end:
        if isinstance(end.__context__, OSError):  # Typer and Rich end a command so when its output is closed
            raise end.__context__ from None
        return end.code
    return 0


def _flush(told: bool) -> int:
    """Write out what is still kept back; 1 where that fails. Nothing is left that could fail at shutdown.

    Args:
        told: the output is known to be lost, and that was said.
    """
    code = 0
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            code = 1 if told else _stopped(error)
    return code


def _stopped(error: OSError) -> int:
    _complain(f"botdata stopped: {error.strerror or type(error).__name__}")
    return 1


def _complain(text: str) -> None:
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:  # nobody is left to be told; _flush() sees to the rest
        pass


if __name__ == "__main__":
    run()
