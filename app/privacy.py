"""Masks for phone numbers in everything that people other than the owner may read."""

import re
from collections.abc import Iterable

_DIGITS = re.compile(r"\d(?:[\s()\-.]{0,2}\d){7,}")
# A date, and the name of a process of the bot: host, number and six digits of a hexadecimal number.
_NO_PHONE = re.compile(r"((?<!\d)20\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?!\d)|[\w.-]+:\d+:[0-9a-f]{6}\b)")


def mask_phone(text: str) -> str:
    """Mask one phone number: `79684484488` becomes `7968***4488`. Shorter texts than 9 become `***`."""
    digits = re.sub(r"\D", "", text)
    return f"{digits[:4]}***{digits[-4:]}" if len(digits) >= 9 else "***"


def mask_phones(text: str) -> str:
    """Mask every run of eight or more digits in a text, however it is punctuated."""
    return _DIGITS.sub(lambda match: mask_phone(match.group()), text)


def mask_free_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Mask phone numbers, and these secrets; dates and the names of processes stay as they are."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return "".join(part if place % 2 else mask_phones(part) for place, part in enumerate(_NO_PHONE.split(text)))
