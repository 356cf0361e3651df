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
)
# Linters take them for 1 and 0.
_AMBIGUOUS = frozenset({"I", "O", "l"})


def attribute_name(name: str, taken: Iterable[str] = ()) -> str:
    """The name of an attribute for a column: the column's own where that can be; unlike all that are `taken`."""
    plain = _letters(name)
    if not plain.isidentifier():
        plain = f"c_{plain}".rstrip("_") or "c"
    plain = re.sub(r"^__+", "c_", plain)  # Python keeps such names for itself
    plain = re.sub(r"^_sa_", "c_sa_", plain)  # and SQLAlchemy these
    if keyword.iskeyword(plain) or plain in _TAKEN or plain in _AMBIGUOUS:
        plain += "_"
    return _unlike(plain, set(taken))


def class_name(name: str, taken: Iterable[str] = ()) -> str:
    """The name of a class for a table: `post_items` and `Post Items` are PostItems."""
    plain = "".join(word[:1].upper() + word[1:] for word in _letters(name).split("_"))
    if not plain.isidentifier():
        plain = f"Table{plain}"
    if keyword.iskeyword(plain) or plain in _TAKEN or plain in _AMBIGUOUS:
        plain += "_"
    return _unlike(plain, set(taken))


def module_name(name: str, taken: Iterable[str] = ()) -> str:
    """The name of a module for a table, in small letters: some file systems take A and a for one."""
    words = re.sub(r"(?<=[a-zа-я0-9])(?=[A-ZА-Я])", "_", _letters(name))
    plain = re.sub(r"_+", "_", words.lower()).strip("_")
    if not plain.isidentifier():
        plain = f"t_{plain}".rstrip("_")
    if keyword.iskeyword(plain) or plain == "base":
        plain += "_"
    return _unlike(plain, set(taken))


def _letters(name: str) -> str:
    """The name, with `_` for each character that no identifier may hold; some digits are of these."""
    return "".join(c if f"_{c}".isidentifier() else "_" for c in unicodedata.normalize("NFKC", name))


def _unlike(name: str, taken: set[str]) -> str:
    name = unicodedata.normalize("NFKC", name)  # as Python reads it, which joins an accent to the letter before it
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    return candidate
