"""Masks for phone numbers and secrets in everything that people other than the owner may read."""

import re
from collections.abc import Iterable

_DIGITS = re.compile(r"\d(?:[\s()\-.]{0,3}\d){7,}")
# A day as ISO 8601 writes it, with a time perhaps: as long as a phone number, and none.
_DAY = re.compile(r"((?<!\d)20\d\d-[01]\d-[0-3]\d(?:[T ]\d\d:\d\d(?::\d\d)?)?(?!\d))")
# User and password of an address; Supabase's keys, which are JWTs or begin with sb_.
_SECRETS = re.compile(r"(?<=://)[^\s/@]+(?=@)|\beyJ[\w-]+(?:\.[\w-]+)*|\bsb_\w+")

_SHORTEST_SECRET = 6


def mask_phone(text: str) -> str:
    """Mask one phone number: `79684484488` becomes `7968***4488`. Shorter texts than 9 become `***`."""
    digits = re.sub(r"\D", "", text)
    return f"{digits[:4]}***{digits[-4:]}" if len(digits) >= 9 else "***"


def mask_phones(text: str) -> str:
    """Mask every run of eight or more digits in a text, however it is punctuated."""
    return _DIGITS.sub(lambda match: mask_phone(match.group()), text)


def mask_free_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Mask what a person may have typed without thinking: phone numbers, keys, users and passwords of addresses.

    Args:
        secrets: of the settings; those that are shorter than 6 characters would mask words.
    """
    for secret in secrets:
        text = text.replace(secret, "***") if len(secret) >= _SHORTEST_SECRET else text
    parts = _DAY.split(_SECRETS.sub("***", text))
    return "".join(part if position % 2 else mask_phones(part) for position, part in enumerate(parts))
