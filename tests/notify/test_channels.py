"""The two ways to tell: what they send, what they refuse, and that nothing of it is logged."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from app.notify import channels
from app.notify.channels import Program, TryOutcome, Webhook, channels_of
from app.settings import Settings
from tests.notify.receiver import Receiver, receiving, until

DOCUMENT = {"id": "1", "event": "test", "target": None, "summary": 'a "test" $(id)', "facts": {"rows": 3}, "next": None}
_WRITES = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))"


async def test_a_webhook_gets_the_document(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for status, answer in ((200, TryOutcome(True, "http 200")), (204, TryOutcome(True, "http 204"))):
        receiver.status = status
        assert await Webhook(receiver.url).send(DOCUMENT) == answer
    assert receiver.events == [DOCUMENT, DOCUMENT]
    assert "path-that-is-secret" not in caplog.text


@pytest.mark.parametrize("status", [301, 307, 308])
async def test_a_redirect_is_not_followed(receiver: Receiver, status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with receiving() as elsewhere:
        receiver.status, receiver.headers = status, {"Location": elsewhere.url}
        assert await Webhook(receiver.url).send(DOCUMENT) == TryOutcome(False, f"redirect {status}")
        assert elsewhere.bodies == []
    assert "path-that-is-secret" not in caplog.text


async def test_what_a_webhook_may_come_to(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver.status = 500
    assert await Webhook(receiver.url).send(DOCUMENT) == TryOutcome(False, "http 500")
    monkeypatch.setattr(channels, "LONGEST", 0.2)
    receiver.hold.clear()
    assert await Webhook(receiver.url).send(DOCUMENT) == TryOutcome(False, "timeout")
    monkeypatch.setattr(channels, "LONGEST", 60.0)
    with receiving() as gone:
        url = gone.url
    assert await Webhook(url).send(DOCUMENT) == TryOutcome(False, "unreachable")
    tls = receiver.url.replace("http:", "https:")  # it speaks no TLS
    assert not (await Webhook(tls).send(DOCUMENT)).ok
    monkeypatch.setenv("SSL_CERT_FILE", "/none")
    assert not (await Webhook(tls).send(DOCUMENT)).ok


async def test_a_program_s_environment_is_the_event_and_three_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SUPABASE_KEY", "DATABASE_URL", "MIGRATION_SOURCE", "NOTIFY_COMMAND", "PGPASSWORD"):
        monkeypatch.setenv(name, "a-secret")
    monkeypatch.setenv("LANG", "C.UTF-8")
    file = tmp_path / "environment.json"
    program = Program((sys.executable, "-I", "-c", _WRITES, str(file)))
    assert await program.send(DOCUMENT) == TryOutcome(True, "exit 0")
    seen: dict[str, str] = json.loads(file.read_text())
    told = {name: text for name, text in seen.items() if name.startswith("BOTDATA_")}
    assert told == {
        "BOTDATA_ID": "1",
        "BOTDATA_EVENT": "test",
        "BOTDATA_TARGET": "",
        "BOTDATA_SUMMARY": 'a "test" $(id)',
        "BOTDATA_FACTS": '{"rows": 3}',
        "BOTDATA_NEXT": "",
    }
    others = seen.keys() - told.keys() - {"LC_CTYPE"}  # which Python sets for itself
    assert others == {"PATH", "HOME", "LANG"} & os.environ.keys()


async def test_what_a_program_may_come_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    said = "import sys; print('loud'); print('loud', file=sys.stderr); sys.exit(7)"
    assert await Program((sys.executable, "-I", "-S", "-c", said)).send(DOCUMENT) == TryOutcome(False, "exit 7")
    assert await Program((str(tmp_path / "none"),)).send(DOCUMENT) == TryOutcome(False, "not started")
    monkeypatch.setattr(channels, "LONGEST", 0.1)
    assert await Program(("sleep", "600")).send(DOCUMENT) == TryOutcome(False, "timeout")
    assert capfd.readouterr() == ("", "")


async def test_a_program_that_is_ended_takes_what_it_has_started_with_it(tmp_path: Path) -> None:
    number = tmp_path / "number"
    hangs = f"sleep 600 & echo $! > {number}.new; mv {number}.new {number}; wait"
    sending = asyncio.create_task(Program(("sh", "-c", hangs)).send(DOCUMENT))
    await until(number.exists)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    process = int(number.read_text())
    await until(lambda: _has_ended(process))


def test_a_command_is_split_without_a_shell() -> None:
    given: dict[str, Any] = {"notify_command": "tell --to 'the night shift' $HOME"}
    (program,) = channels_of(Settings(_env_file=None, **given))
    assert program == Program(("tell", "--to", "the night shift", "$HOME"))


def _has_ended(process: int) -> bool:
    """Whether a process is gone, or waits for nothing but its parent's look."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return True
