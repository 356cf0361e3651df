"""Select lists, names and operands as PostgREST's grammar takes them, and how many keys fit into an address."""

import re
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote

# Bytes of an address that pass everywhere: PostgREST repeats it in a header of the answer, and a proxy with nginx's
# default buffers answers 502 to a header of about 4 kB.
LONGEST_ADDRESS = 3000
_BESIDE_KEYS = 200  # of them, for the names of the keys' columns and for what asks for the next page
# Names of a query's own parameters, which PostgREST would not take for a column
_RESERVED = {"select", "columns", "on_conflict", "order", "limit", "offset", "and", "or", "not"}


def as_text(columns: Sequence[str]) -> str:
    """A select list that asks for each column as PostgreSQL's own text, exact for every type.

    The values come under `alias(0)`, `alias(1)` and so on: shorter than the columns' names, and some servers take
    `order=id` beside `id::text` for an order by that text.
    """
    return ",".join(f"{alias(position)}:{quoted_name(column)}::text" for position, column in enumerate(columns))


def alias(position: int) -> str:
    """The name in an answer of the column at a position of `as_text`."""
    return f"_{position}"


def quoted_name(name: str) -> str:
    """A column's name as PostgREST's grammar takes it: quoted where it is not plain, or a word of the grammar."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and name not in _RESERVED:
        return name
    return in_list([name])[1:-1]


def in_list(values: list[str]) -> str:
    """The operand of PostgREST's `in` operator, every value quoted."""
    escaped = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "(" + ",".join(f'"{value}"' for value in escaped) + ")"


def listed_length(text: str) -> int:
    """Bytes of a text in the operand of `in`, with the comma after it."""
    return len(quote(in_list([text])[1:-1], safe="")) + 3


def key_parts(keys: Iterable[Sequence[str]], beside: int) -> Iterator[list[Sequence[str]]]:
    """The keys, sorted, in parts whose texts fit into an address each; at least one key a part.

    A text that several keys of a part share is counted once, as an address names it.

    Args:
        keys: of as many texts each, one for a column.
        beside: bytes of the address without the keys.
    """
    room = LONGEST_ADDRESS - _BESIDE_KEYS - beside
    part: list[Sequence[str]] = []
    named: set[tuple[int, str]] = set()
    size = 0
    for key in sorted(set(map(tuple, keys))):
        words = set(enumerate(key))
        grows = sum(listed_length(text) for _, text in words - named)
        if part and size + grows > room:
            yield part
            part, named, size = [], set(), 0
            grows = sum(listed_length(text) for _, text in words)
        part.append(key)
        named |= words
        size += grows
    if part:
        yield part
