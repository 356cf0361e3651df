"""Runs a command many times, each time stopped at another turn of its event loop.

`python -m tests.cli.stopped WORDS TURNS PAUSE`, the first two as JSON. It is imported once, and a process is forked for
each turn, so that a stop takes no more than the command up to there.
For each it prints a line of JSON; the first turn that the command does not come to is the last.
"""

import asyncio
import faulthandler
import json
import os
import selectors
import signal
import sys
import tempfile
import time

from app.cli.main import run

_LONGEST = 30.0  # seconds, also on a machine that is at something else; then all stacks are printed


class _Selector(selectors.DefaultSelector):
    """Raises the signal at a turn of the loop.

    Args:
        pause: seconds before it, so that all that was awaited is there at the same turn.
    """

    def __init__(self, turn: int, pause: float) -> None:
        super().__init__()
        self._turn = turn
        self._pause = pause

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        _Turns.done += 1
        if _Turns.done == self._turn:
            time.sleep(self._pause)
            os.write(2, b"the stop\n")
            faulthandler.dump_traceback_later(_LONGEST, exit=True)
            signal.raise_signal(signal.SIGTERM)
        return super().select(timeout)


class _Turns:
    """Of all event loops of the process."""

    done = 0


class _Policy(asyncio.DefaultEventLoopPolicy):
    def __init__(self, turn: int, pause: float) -> None:
        super().__init__()
        self._selector = turn, pause

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(_Selector(*self._selector))


def _command(words: list[str], turn: int, pause: float, output: int) -> None:
    """The forked process, which ends here."""
    for number in (1, 2):
        os.dup2(output, number)
    asyncio.set_event_loop_policy(_Policy(turn, pause))
    sys.argv = ["botdata", *words]
    try:
        run()
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else 1)


def main(words: list[str], turns: list[int], pause: float) -> None:
    """Stop the command at each turn."""
    for turn in turns:
        with tempfile.TemporaryFile() as output:
            if not (process := os.fork()):
                _command(words, turn, pause, output.fileno())
            code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            output.seek(0)
            said = output.read().decode(errors="replace")
        stopped = "the stop\n" in said
        sys.stdout.write(json.dumps({"turn": turn, "stopped": stopped, "code": code, "said": said}) + "\n")
        sys.stdout.flush()  # before the next fork
        if not stopped:
            break


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), json.loads(sys.argv[2]), float(sys.argv[3]))
