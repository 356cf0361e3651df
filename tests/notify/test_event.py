"""What is sent of an event holds no secret and no phone number, whoever wrote its texts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.notify.channels import _environment
from app.notify.event import Event, document_of
from app.privacy import mask_phones
from app.settings import Settings

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
    assert document_of(event, _settings())["next"] == "botdata copy --source postgresql://source.example/salon"


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
    masked = mask_phones(f"call {phone} now")
    assert "***" in masked
    assert sum(map(str.isdigit, masked)) == 8


def test_counts_and_moments_stay() -> None:
    for text in ("1,234,567,890 rows", "12:30:45", "127.0.0.1:5432/salon", "run 1234567"):
        assert mask_phones(text) == text
