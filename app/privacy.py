"""Masks for phone numbers and secrets in everything that people other than the owner may read."""

import re
from collections.abc import Iterable

# +7 (900) 000-00-07 has two signs in a row, and a text that was set in type has dashes of its own.
_DIGITS = re.compile(r"\d(?:[\s().\-\u2010-\u2015]{0,3}\d){7,}")
# As long as a phone number, and none: a day in ISO 8601, with a time perhaps, the name of a process of the bot, and the
# address of a server with its port.
_NO_PHONE = re.compile(
    r"((?<!\d)20\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?:[T ]\d\d:\d\d(?::\d\d)?)?(?!\d)"
    r"|[\w.-]+:\d+:[0-9a-f]{6}\b"
    r"|(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d):\d{4,5}(?!\d))"
)
# User and password of an address; Supabase's keys, which are JWTs or begin with sb_.
_SECRETS = re.compile(r"(?<=://)[^\s/@]+(?=@)|\beyJ[\w-]+(?:\.[\w-]+)*|\bsb_\w+")
# A shorter secret would mask words.
_SHORTEST_SECRET = 6


def mask_phone(text: str) -> str:
    """Mask one phone number: `79684484488` becomes `7968***4488`. Shorter texts than 9 become `***`."""
    digits = re.sub(r"\D", "", text)
    return f"{digits[:4]}***{digits[-4:]}" if len(digits) >= 9 else "***"


def mask_phones(text: str) -> str:
    """Mask every run of eight or more digits in a text, however it is punctuated."""
    return _DIGITS.sub(lambda match: mask_phone(match.group()), text)


def mask_free_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Mask what a person may have typed without thinking: phone numbers, keys, users and passwords, and these secrets.

    Days and the names of the bot's processes stay as they are.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***") if len(secret) >= _SHORTEST_SECRET else text
    parts = _NO_PHONE.split(_SECRETS.sub("***", text))
    return "".join(part if position % 2 else mask_phones(part) for position, part in enumerate(parts))
