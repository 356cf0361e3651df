"""examples/bot.py, as a person talks to it: its answers, its memory, its end, and that it never stops answering."""

from __future__ import annotations

import select
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Self

from app.cutover.stages import Stage, Store
from tests.cutover.load import step, there_and_back
from tests.cutover.servers import Servers

BOT = Path(__file__).parents[2] / "examples" / "bot.py"
PHONE = "79000000001"
_MESSAGES = f"SELECT messages::text, message_count FROM dialog_contexts WHERE user_id = '{PHONE}'"


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
        """What it still says, its standard error, and its exit code; None: it ends by itself."""
        if number is not None:
            self._process.send_signal(number)
        out, err = self._process.communicate(timeout=30)
        return out, err, self._process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


def test_it_answers_and_remembers(servers: Servers) -> None:
    with Chat(servers) as chat:
        assert chat.ask("what is my name?") == "You have not told me yet."
        assert chat.ask("My name is Анна К.") == "Nice to meet you, Анна К."
        assert chat.ask("hello").startswith("Hello, Анна К!")
        price = chat.ask("What does a haircut cost?")
        assert "Мужская стрижка: from 1500.00 RUB" in price
        servers.ask(
            Store.SUPABASE,
            "UPDATE bookings SET status = 'confirmed', services = '{Чёлка}', staff_name = 'Али', date = '2099-03-04', "
            "datetime = '2099-03-04 18:30' WHERE id IN (SELECT id FROM bookings WHERE client_yclients_id = 150000000 "
            "LIMIT 1)",
        )
        servers.ask(Store.SUPABASE, "DELETE FROM bookings WHERE datetime < '2099-01-01'")
        assert chat.ask("when is my next visit?") == "On 04 March at 18:30: Чёлка, with Али."
        assert chat.end() == ("Goodbye.\n", "", 0)
    with Chat(servers) as chat:
        assert chat.ask("what is my name") == "Your name is Анна К."
        assert chat.end(signal.SIGINT) == ("Goodbye.\n", "", 0)
    assert servers.ask(Store.SUPABASE, _MESSAGES)[0][0].count('"role": "user"') == 6


def test_a_missing_setting_is_one_sentence(servers: Servers) -> None:
    with Chat(servers, SUPABASE_KEY="") as chat:
        _, err, code = chat.end(None)
    assert code == 1
    assert err.startswith("SUPABASE_KEY is not set")
    assert err.count("\n") == 1


def test_it_keeps_answering_while_the_stage_moves(servers: Servers) -> None:
    answers: list[str] = []
    with Chat(servers) as chat:
        assert chat.ask("my name is Анна") == "Nice to meet you, Анна."
        ended = Event()

        def talk() -> None:
            questions = ["what is my name", "what does a haircut cost", "when is my next visit"]
            while not ended.is_set():
                answers.append(chat.ask(questions[len(answers) % len(questions)]))
                ended.wait(0.1)

        talking = Thread(target=talk)
        talking.start()
        try:
            for stage in there_and_back():
                step(servers, stage)
        finally:
            ended.set()
            talking.join(60)
        assert chat.end() == ("Goodbye.\n", "", 0)
    assert servers.stage == Stage.OFF
    assert len(answers) > 50
    assert set(answers[::3]) == {"Your name is Анна."}
    assert [answer for answer in answers if answer.startswith("Sorry")] == []
    servers.botdata("sync")  # what was said at `off`, after the last step
    assert servers.differing() == []


def test_it_ends_before_the_lines_that_wait(servers: Servers) -> None:
    with Chat(servers) as chat:
        chat.ask("hello\n" * 500)
        out, err, code = chat.end()
    assert (err, code) == ("", 0)
    assert out.endswith("Goodbye.\n")
    assert out.count("Hello") < 400
