"""Phone numbers as people and WhatsApp write them, made into E.164 digits without `+`."""

import re
from functools import lru_cache

from app.errors import InvalidPhoneError

# WhatsApp ids: a number, a device after a colon or an agent after an underscore, and the server's name.
_WHATSAPP_ID = re.compile(r"(\d{5,20})(?:[:_]\d{1,5}){0,2}@(?:c\.us|s\.whatsapp\.net)", re.IGNORECASE)
_LONGEST = 64


def normalize_phone(phone: object, region: str, *, field: str = "phone") -> str:
    """The number as stored: `8 968 648-44-88`, `9686484488` and `79686484488@c.us` are `79686484488` in region RU.

    A number with `+`, or from WhatsApp, is international. Bare digits are taken as a number of the region if they can
    be one, else as an international one.

    Args:
        phone: text, or the digits as an integer.
        region: two letters (ISO 3166), such as RU.
        field: what the error names.

    Raises:
        InvalidPhoneError: not a usable phone number; the number itself is not repeated.
    """
    if isinstance(phone, int) and not isinstance(phone, bool):
        phone = str(phone) if 0 < phone < 10**20 else None
    digits = _normalized(phone.strip(), region) if isinstance(phone, str) and len(phone) <= _LONGEST else None
    if digits is None:
        raise InvalidPhoneError(f"{field} is not a usable phone number", field=field)
    return digits


@lru_cache(maxsize=4096)
def _normalized(text: str, region: str) -> str | None:
    from phonenumbers import NumberParseException, PhoneNumberFormat, format_number, is_possible_number, is_valid_number
    from phonenumbers import parse as parse_number

    whatsapp = _WHATSAPP_ID.fullmatch(text)
    if whatsapp:
        text = f"+{whatsapp[1]}"
    elif "@" in text or any(character.isalpha() for character in text):
        return None  # vanity numbers and extensions are nothing that a client can be found by
    international = [(f"+{text}", None)] if not text.startswith("+") else []
    candidates = []
    for candidate, of_region in [(text, None if text.startswith("+") else region), *international]:
        try:
            candidates.append(parse_number(candidate, of_region))
        except NumberParseException:
            continue
    for usable in (is_valid_number, is_possible_number):
        for number in candidates:
            if number.extension is None and usable(number):
                return format_number(number, PhoneNumberFormat.E164).removeprefix("+")
    return None
