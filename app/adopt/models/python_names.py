"""Python names for tables and columns of any name."""

import keyword
import re
import unicodedata
from collections.abc import Iterable

# What the generated modules use themselves: an attribute of such a name would hide it from those after it.
_TAKEN = frozenset(
    {"Any", "Base", "DatabaseType", "Decimal", "Mapped", "Range", "UUID", "dt", "mapped_column", "metadata", "pg"}
    | {"registry", "relationship", "sa", "MultiRange", "TYPE_CHECKING"}
    | {"bool", "bytes", "float", "int", "list", "str"}
    | {"I", "O", "l"}  # linters take them for 1 and 0
)


def attribute_name(name: str, taken: Iterable[str] = ()) -> str:
    """The name of an attribute for a column: the column's own where that can be; unlike all that are `taken`."""
    plain = _letters(name)
    if not plain.isidentifier():
        plain = f"c_{plain}".rstrip("_") or "c"
    plain = re.sub(r"^__+", "c_", plain)  # Python keeps such names for itself
    plain = re.sub(r"^_sa_", "c_sa_", plain)  # and SQLAlchemy these
    return _unlike(plain, taken)


def class_name(name: str, taken: Iterable[str] = ()) -> str:
    """The name of a class for a table: `post_items` and `Post Items` are PostItems."""
    plain = "".join(word[:1].upper() + word[1:] for word in _letters(name).split("_"))
    if not plain.isidentifier():
        plain = f"Table{plain}"
    return _unlike(plain, taken)


def module_name(name: str, taken: Iterable[str] = ()) -> str:
    """The name of a module for a table, in small letters: some file systems take A and a for one."""
    words = re.sub(r"(?<=[a-zа-я0-9])(?=[A-ZА-Я])", "_", _letters(name))
    plain = re.sub(r"_+", "_", words.lower()).strip("_")
    if not plain.isidentifier():
        plain = f"t_{plain}".rstrip("_")
    return _unlike(plain, taken, frozenset({"base"}))


def _letters(name: str) -> str:
    """The name, with `_` for each character that no identifier may hold; some digits are of these."""
    return "".join(c if f"_{c}".isidentifier() else "_" for c in unicodedata.normalize("NFKC", name))


def _unlike(name: str, others: Iterable[str], reserved: frozenset[str] = _TAKEN) -> str:
    """The name, or one like it that is neither Python's own nor taken."""
    taken = set(others)
    if keyword.iskeyword(name) or name in reserved:
        name += "_"
    name = unicodedata.normalize("NFKC", name)  # as Python reads it, which joins an accent to the letter before it
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    return candidate
