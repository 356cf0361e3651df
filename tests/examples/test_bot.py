"""examples/bot.py, as a person talks to it: its answers, its memory and its end."""

from __future__ import annotations

import signal

import pytest

from app.cutover.stages import Stage, Store
from tests.cutover.load import step, there_and_back
from tests.cutover.servers import Servers
from tests.examples.chat import Chat, assert_all_answered, talking

PHONE = "79000000001"
_MESSAGES = f"SELECT messages::text, message_count FROM dialog_contexts WHERE user_id = '{PHONE}'"


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


@pytest.mark.soak
def test_it_keeps_answering_while_the_stage_moves(servers: Servers) -> None:
    with Chat(servers) as chat:
        with talking(chat) as answers:
            for stage in there_and_back():
                step(servers, stage)
        assert chat.end() == ("Goodbye.\n", "", 0)
    assert servers.stage == Stage.OFF
    assert_all_answered(answers)
    servers.botdata("sync")  # what was said at `off`, after the last step
    assert servers.differing() == []


def test_it_ends_before_the_lines_that_wait(servers: Servers) -> None:
    with Chat(servers) as chat:
        chat.ask("hello\n" * 500)
        out, err, code = chat.end()
    assert (err, code) == ("", 0)
    assert out.endswith("Goodbye.\n")
    assert out.count("Hello") < 400
