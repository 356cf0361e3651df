"""Masks for phone numbers in everything that people other than the owner may read."""

import re

_DIGITS = re.compile(r"\d(?:[\s().\-\u2010-\u2015]{0,3}\d){7,}")  # +7 (900) 000-00-07 has two signs in a row


def mask_phone(text: str) -> str:
    """Mask one phone number: `79684484488` becomes `7968***4488`. Shorter texts than 9 become `***`."""
    digits = re.sub(r"\D", "", text)
    return f"{digits[:4]}***{digits[-4:]}" if len(digits) >= 9 else "***"


def mask_phones(text: str) -> str:
    """Mask every run of eight or more digits in a text, however it is punctuated."""
    return _DIGITS.sub(lambda match: mask_phone(match.group()), text)
