"""Keys as a Supabase project hands them out."""

import base64
import hashlib
import hmac
import json


def legacy_key(role: str) -> str:
    """A key as old Supabase projects have it: a JWT with a role, signed with a secret that guards nothing."""
    claims = {"iss": "supabase", "ref": "made-up", "role": role, "iat": 1700000000, "exp": 4000000000}
    parts = [_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signature = hmac.digest(b"no secret at all", ".".join(parts).encode(), hashlib.sha256)
    return ".".join([*parts, _base64(signature)])


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
