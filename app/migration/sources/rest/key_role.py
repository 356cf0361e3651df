"""Which role a Supabase key has: with any other than a service key, row-level security hides rows without an error."""

import base64
import binascii
import json

from app.errors import MigrationError
from app.next_step import Command, NextStep


def key_role(key: str) -> str | None:
    """The role that a key names: "service_role", "anon", another; None where the key does not say.

    A legacy key is a JWT with a claim `role`; `sb_secret_...` is a service key and `sb_publishable_...` is not one
    (Supabase documentation, "Understanding API keys").
    """
    if key.startswith("sb_secret_"):
        return "service_role"
    if key.startswith("sb_publishable_"):
        return "publishable"
    parts = key.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    role = claims.get("role") if isinstance(claims, dict) else None
    return role if isinstance(role, str) else None


def require_service_key(key: str, *, role_ok: bool, step: str) -> None:
    """Refuse a key that may not see every row.

    Args:
        role_ok: the owner says that a custom role sees every row; the public roles are refused all the same.

    Raises:
        MigrationError: names the role and where the right key is found.
    """
    role = key_role(key.strip())
    if role == "service_role":
        return
    if role in {"anon", "authenticated", "publishable"}:
        raise MigrationError(
            f"SUPABASE_KEY is a key of the role {role}, from which row-level security hides rows without an error",
            step=step,
            pending="everything; nothing was read",
            next_step=NextStep(
                "set SUPABASE_KEY to the service key (project settings, API keys), then: ", Command(step)
            ),
        )
    if not role_ok:
        named = f"of the role {role}" if role else "that names no role"
        raise MigrationError(
            f"SUPABASE_KEY is a key {named}, and row-level security may hide rows from it without an error",
            step=step,
            pending="everything; nothing was read",
            next_step=NextStep(Command(step, "--key-role-ok"), ", if you know that this role sees every row"),
        )
