"""examples/bot.py in a process of its own, and a person who talks to it."""

from __future__ import annotations

import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Self

from tests.cutover.servers import Servers

_GIVEN_UP = "WARNING:psycopg:query cancellation interrupted"
BOT = Path(__file__).parents[2] / "examples" / "bot.py"


class Chat:
    """The bot in a process of its own."""

    def __init__(self, servers: Servers, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, BOT],
            env=servers.environment(QUERY_TIMEOUT="15", **environment),
            cwd=servers.directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def ask(self, text: str) -> str:
        """The bot's line; AssertionError where it does not come in time."""
        assert self._process.stdin is not None
        self._process.stdin.write(text + "\n")
        return self.line()

    def line(self, seconds: float = 30) -> str:
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], seconds)
        assert readable, f"no answer within {seconds:g} s"
        return self._process.stdout.readline().rstrip("\n")

    def end(self, number: signal.Signals | None = signal.SIGTERM) -> tuple[str, str, int]:
        """What it still says, its standard error, and its exit code; None: it ends by itself.

        On a busy machine the driver gives up calls, with a line that says so; it is left out.
        """
        if number is not None:
            self._process.send_signal(number)
        out, err = self._process.communicate(timeout=30)
        kept = [line for line in err.splitlines(keepends=True) if not line.startswith(_GIVEN_UP)]
        return out, "".join(kept), self._process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


@contextmanager
def talking(chat: Chat) -> Iterator[list[str]]:
    """Ask three questions by turns until the end of the block; the answers so far, `Your name is Анна.` the first."""
    answers: list[str] = []
    assert chat.ask("my name is Анна") == "Nice to meet you, Анна."
    ended = Event()

    def talk() -> None:
        questions = ["what is my name", "what does a haircut cost", "when is my next visit"]
        while not ended.is_set():
            answers.append(chat.ask(questions[len(answers) % len(questions)]))
            ended.wait(0.1)

    thread = Thread(target=talk)
    thread.start()
    try:
        yield answers
    finally:
        ended.set()
        thread.join(60)


def assert_all_answered(answers: list[str]) -> None:
    """It answered each time, and knew the name."""
    assert len(answers) > 50
    assert set(answers[::3]) == {"Your name is Анна."}
    assert [answer for answer in answers if answer.startswith("Sorry")] == []
