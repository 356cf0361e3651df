"""Entry point of `botdata`: errors, signals and a lost output become a few lines and an exit code.

Imports nothing slow by itself, so that an interrupt during the imports finds its handler in place.
"""

import atexit
import gc
import os
import sys
from contextlib import suppress
from itertools import takewhile

# What imports make stays: to look through it again and again takes a tenth of a command's start. A copy over REST has
# its first page before there are so many.
_OBJECTS_BETWEEN_COLLECTIONS = 250_000
_INTERRUPTED = 130  # Typer's exit code after a KeyboardInterrupt
_RESUMED = ("copy", "migrate", "sync")
_GROUPS = ("cutover", "fleet", "mirror", "quarantine", "schema", "stream")  # their commands have names of two words


def run() -> None:
    """Carry out the command line and exit."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    atexit.register(gc.freeze)  # to look through it a last time, for nothing, takes a sixth of a second
    lost = False
    try:
        code = _carry_out()
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except OSError as error:
        lost = error.filename is None
        code = _stopped(error)
    if code == _INTERRUPTED:
        kept = " What was done is kept; the same command goes on from there." if _command() in _RESUMED else ""
        _complain(f"\nStopped.{kept}")
        _show_stop(f"interrupted.{kept}")
    code = _flush(told=lost) or code
    import signal

    for each in (signal.SIGINT, signal.SIGTERM):  # all is done and said: nothing is left to be stopped
        signal.signal(each, signal.SIG_IGN)
    sys.exit(code)


def _carry_out() -> str | int | None:
    import signal

    signal.signal(signal.SIGTERM, _interrupt)  # both end a command the same way
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for as long as the process lives
        if reconfigure := getattr(getattr(sys, name), "reconfigure", None):
            reconfigure(errors="backslashreplace")  # a value may hold what the terminal's encoding has not
    from app.cli.command_tree import cli
    from app.errors import BotdataError

    if _wants_document():
        from app.cli.render import keep_output_for_document

        keep_output_for_document()
    try:
        cli()
    except BotdataError as error:
        from app.cli.render import show_error

        show_error(error, _command(), _wants_document())
        return 1
    except SystemExit as end:
        if isinstance(end.__context__, OSError):  # Typer and Rich end a command so when its output is closed
            raise end.__context__ from None
        return end.code
    return 0


def _interrupt(*_: object) -> None:
    import signal

    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a script starts what it puts in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.raise_signal(signal.SIGINT)


def _wants_document() -> bool:
    return "--json" in sys.argv[1:]


def _command() -> str:
    words = list(takewhile(lambda word: not word.startswith("-"), sys.argv[1:]))
    return " ".join(words[: 2 if words[:1] and words[0] in _GROUPS else 1])


def _show_stop(message: str) -> None:
    """The document of a command that an interrupt or a file ended."""
    if not _wants_document():
        return
    import json

    parts: dict[str, str | None] = dict.fromkeys(("step", "table", "done", "pending", "next"))
    document = {"command": _command(), "ok": False, "error": {"message": message, **parts}}
    with suppress(OSError):  # _flush() sees to the rest
        sys.stdout.write(json.dumps(document, indent=2) + "\n")


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
    file = f"{error.filename}: " if error.filename is not None else ""
    said = f"{file}{error.strerror or type(error).__name__}"
    _complain(f"botdata stopped: {said}")
    if error.filename is not None:
        _show_stop(said)
    return 1


def _complain(text: str) -> None:
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:  # nobody is left to be told; _flush() sees to the rest
        pass


if __name__ == "__main__":
    run()
