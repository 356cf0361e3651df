"""What is sent of an event holds no secret and no phone number, whoever wrote its texts."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.notify.channels import _environment
from app.notify.event import Event, document_of
from app.privacy import mask_free_text
from app.settings import Settings

_ROOT = Path(__file__).parents[2]
SECRETS = {
    "supabase_key": "sb_secret_0123456789",
    "database_url": "postgresql://owner:swordfish-9@db.example:6000/salon",
    "migration_source": "postgresql://reader:other-fish@source.example/salon",
    "notify_url": "https://hooks.example/services/T0/B0/hook-secret",
    "notify_command": "tell --token 12345:bot-secret",
}
PLANTED = [*SECRETS.values(), "swordfish-9", "other-fish", "79000000007", "+7 900 000-00-07", "8 (900) 000 00 07"]
PIECES = ("sb_secret", "swordfish", "other-fish", "hook-secret", "bot-secret", "9000000007", "000-00-07", "000 00 07")


def _settings() -> Settings:
    given: dict[str, Any] = dict(SECRETS)
    return Settings(_env_file=None, **given)


def test_planted_secrets_and_phones_are_in_no_part_of_it() -> None:
    text = " and ".join(PLANTED)
    event = Event(
        "test", text, {"why": text, "list": [{"what": text}]}, "source.example/salon", next=f"botdata x {text}"
    )
    document = document_of(event, _settings())
    for sent in (json.dumps(document), "\n".join(_environment(document).values())):
        assert [piece for piece in PIECES if piece in sent] == []
    assert document["target"] == "db.example:6000/salon"


def test_names_call_nobody_and_draw_nothing() -> None:
    event = Event("test", "table <!channel> & \x1b[31m\u202e\nrest", {"why": "x" * 5000, "list": list(range(500))})
    document = document_of(event, _settings())
    assert document["summary"] == "table <!channel> & ?[31m? rest"
    assert document["text"] == "db.example:6000/salon: table &lt;!channel&gt; &amp; ?[31m? rest"
    assert len(document["facts"]["why"]) < 1100
    assert len(document["facts"]["list"]) == 50


def test_an_address_is_told_without_its_user() -> None:
    event = Event("test", "x.", next="botdata copy --source postgresql://reader:***@source.example/salon")
    assert document_of(event, _settings())["next"] == "botdata copy --source postgresql://***@source.example/salon"
    refused = Event("test", 'FATAL: password authentication failed for user "reader"')
    assert document_of(refused, _settings())["summary"] == "FATAL: password authentication failed for user ***"


@pytest.mark.parametrize(
    "phone",
    [
        "79000000007",
        "+7 900 000-00-07",
        "+7 (900) 000-00-07",
        "8(900)000–00–07",
        "7.900.000.00.07",
        "７９０００００００７",
    ],
)
def test_a_phone_is_masked_however_it_is_written(phone: str) -> None:
    masked = mask_free_text(f"call {phone} now")
    assert "***" in masked
    assert sum(map(str.isdigit, masked)) == 8


@pytest.mark.parametrize(
    "text",
    [
        "1,234,567,890 rows", "12:30:45", "127.0.0.1:5432/salon", "run 1234567", "since 2026-11-29 20:08:24 UTC",
        "2026-11-29T20:08:24Z", "forget bot-12345678:4711:a1b2c3",
    ],
)  # fmt: skip
def test_counts_moments_and_processes_stay(text: str) -> None:
    assert mask_free_text(text) == text


def test_every_event_and_field_is_documented() -> None:
    page = (_ROOT / "docs" / "notifications.md").read_text(encoding="utf-8")
    sources = "".join(file.read_text(encoding="utf-8") for file in (_ROOT / "app" / "notify").glob("*.py"))
    kinds = set(re.findall(r'\bEvent\(\s*"(\w+)"', sources))
    assert kinds == set(re.findall(r"^\| `(\w+)` \| (?!text|object)", page, re.MULTILINE))
    fields = document_of(Event("test", "x."), _settings())
    assert list(fields) == re.findall(r"^\| `(\w+)` \| (?:text|object)", page, re.MULTILINE)
    assert [name for name in _environment(fields) if name.startswith("BOTDATA_") and f"`{name}`" not in page] == []


def test_the_recipe_for_telegram_sends_the_event(tmp_path: Path) -> None:
    """With a curl that only writes down what it is given."""
    page = (_ROOT / "docs" / "notifications.md").read_text(encoding="utf-8")
    (script,) = [text for text in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "curl" in text]
    recipe, curl = tmp_path / "tell-telegram", tmp_path / "curl"
    recipe.write_text(script)
    curl.write_text(f'#!/bin/sh\ncat > {tmp_path}/config\nprintf "%s\\n" "$@" > {tmp_path}/arguments\n')
    for file in (recipe, curl):
        file.chmod(0o700)
    told = _environment(document_of(Event("test", 'a "test" $(id)'), _settings()))
    subprocess.run([recipe], env=told | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=True, timeout=30)
    assert (tmp_path / "config").read_text().startswith("url = https://api.telegram.org/bot")
    arguments = (tmp_path / "arguments").read_text()
    assert 'text=db.example:6000/salon: a "test" $(id) \n' in arguments
    assert "token" not in arguments
