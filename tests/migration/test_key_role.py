"""Which role a key names."""

import base64
import json

import pytest

from app.errors import MigrationError
from app.migration.sources.rest.key_role import key_role, require_service_key


def _jwt(claims: object) -> str:
    return "e30." + base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode() + ".c2ln"


@pytest.mark.parametrize(
    ("key", "role"),
    [
        ("sb_secret_abc", "service_role"),
        ("sb_publishable_abc", "publishable"),
        (_jwt({"role": "service_role"}), "service_role"),
        (_jwt({"role": "anon", "iss": "ы"}), "anon"),
        (_jwt({"role": ["service_role"]}), None),
        (_jwt({}), None),
        (_jwt(["role"]), None),
        ("a.b.c", None),
        ("a.!!!.c", None),
        ("a.gIGC.c", None),  # not UTF-8
        ("", None),
        ("sb_other_abc", None),
    ],
)
def test_key_role(key: str, role: str | None) -> None:
    assert key_role(key) == role


def test_a_blank_around_the_key_does_no_harm() -> None:
    require_service_key(" sb_secret_abc\n", role_ok=False, step="copy")


@pytest.mark.parametrize("role_ok", [False, True])
def test_no_key_is_repeated(role_ok: bool) -> None:
    for key in ("sb_publishable_abc", _jwt({"role": "anon"})):
        with pytest.raises(MigrationError) as refused:
            require_service_key(key, role_ok=role_ok, step="verify")
        assert key not in str(refused.value)
        assert "botdata verify" in str(refused.value.next_step)
