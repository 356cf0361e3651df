"""The made-up salon's WhatsApp login and its keys, in the forms that Baileys gives them; the secrets are noise."""

import base64
import json
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

from app.embedded.salon.ids import Row, phone


def login_row(rng: random.Random, *, company_id: int, salon: int, today: date) -> Row:
    """The row of `whatsapp_auth`."""
    own = phone(salon, -1)
    creds = {
        "me": {"id": f"{own}:12@s.whatsapp.net", "lid": f"{rng.randrange(10**14, 10**15)}:12@lid", "name": "Салон"},
        "noiseKey": _key_pair(rng),
        "signedIdentityKey": _key_pair(rng),
        "signedPreKey": {"keyId": 1, "keyPair": _key_pair(rng), "signature": _buffer(rng, 64)},
        "registrationId": rng.randrange(1, 16380),
        "advSecretKey": base64.b64encode(rng.randbytes(32)).decode(),
        "nextPreKeyId": 813,
        "registered": False,
        "routingInfo": None,
        "platform": "android",
    }
    since = datetime.combine(today - timedelta(days=90), time(8, 30), UTC)
    return {
        "company_id": str(company_id),
        "creds": json.dumps(creds, ensure_ascii=False),
        "created_at": since,
        "updated_at": since + timedelta(days=89, microseconds=123456),
    }


def key_rows(rng: random.Random, count: int, *, company_id: int, salon: int, today: date) -> Iterator[Row]:
    """Rows of `whatsapp_keys`: mostly pre-keys; one in ten expires, some have expired."""
    since = datetime.combine(today - timedelta(days=80), time(8, 30), UTC)
    for number in range(count):
        kind, key_id, value = _key(rng, number, salon)
        made = since + timedelta(seconds=rng.randrange(6 * 10**6), microseconds=rng.randrange(10**6))
        yield {
            "company_id": str(company_id),
            "key_type": kind,
            "key_id": key_id,
            "value": json.dumps(value),
            "created_at": made,
            "updated_at": made + timedelta(hours=rng.randrange(200)),
            "expires_at": made + timedelta(days=rng.randrange(30, 200)) if number % 10 == 9 else None,
        }


def _key(rng: random.Random, number: int, salon: int) -> tuple[str, str, object]:
    person = phone(salon, number)
    match number % 25:
        case 18 | 19 | 20:
            return "session", f"{person}.{number % 3}", {"_sessions": {_noise(rng): {"registrationId": number}}}
        case 21:
            return "lid-mapping", person, str(10**14 + number)
        case 22:
            return "lid-mapping", f"{10**14 + number}_reverse", person
        case 23:
            group = f"{120363000000000000 + number}@g.us"
            return "sender-key", f"{group}::{person}::0", [{"senderKeyId": number, "senderChainKey": _buffer(rng, 32)}]
        case 24:
            name = base64.b64encode(number.to_bytes(6, "big")).decode()
            return "app-state-sync-key", name, {"keyData": _noise(rng), "timestamp": str(1_700_000_000_000 + number)}
        case _:
            return "pre-key", str(number + 1), _key_pair(rng)


def _noise(rng: random.Random) -> str:
    return base64.b64encode(rng.randbytes(33)).decode()


def _buffer(rng: random.Random, length: int) -> dict[str, str]:
    return {"type": "Buffer", "data": base64.b64encode(rng.randbytes(length)).decode()}


def _key_pair(rng: random.Random) -> dict[str, dict[str, str]]:
    return {"private": _buffer(rng, 32), "public": _buffer(rng, 32)}
