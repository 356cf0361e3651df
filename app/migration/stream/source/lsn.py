"""Log sequence numbers: places in the source's write-ahead log, as numbers and as PostgreSQL writes them."""

import re

_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


def parse_lsn(text: str) -> int:
    """The number of a text such as 16/B374D848.

    Raises:
        ValueError: it is no such text.
    """
    found = _LSN.fullmatch(text.strip())
    if found is None:
        raise ValueError("an LSN is two hexadecimal numbers with a slash between them, as 16/B374D848")
    return (int(found[1], 16) << 32) | int(found[2], 16)


def lsn_text(lsn: int) -> str:
    """The text of a number."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
