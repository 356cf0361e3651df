"""What is kept of a difference: no more than is needed to find its cause, and nothing about people."""

import hmac
import json
from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple

from app.cutover.shadow.diff import AnswerDifference
from app.cutover.shadow.value_diff import ValueDifference, value_differences
from app.privacy import mask_phone

_MOST_FIELDS = 20
_LONGEST_VALUE = 200
_WHOLE = {"(row)", "(answer)", "(order)"}  # not a column
# The reader of a report is to see which call it was, and not whose: anything else in an argument may be a name.
_SHOWN = (bool, int, date, type(None))


class DifferenceRecord(NamedTuple):
    """One difference as it is kept.

    Attributes:
        places: the fields that differ, each with the types of its values.
        arguments: of the call, masked.
        fields: the places, each as an object with `path`, both `types` and both `hashes`, and `values` if asked for.
    """

    places: list[str]
    arguments: str
    fields: list[dict[str, Any]]

    @property
    def cause(self) -> str:
        """The places as one text, the same for all differences of one cause."""
        return ", ".join(self.places)


def record_of(
    found: AnswerDifference, arguments: Mapping[str, Any], *, key: bytes, with_values: bool
) -> DifferenceRecord:
    """What to keep of a difference.

    Args:
        key: of the hashes: equal values of one run have equal hashes, and no one can try values out.
        with_values: keep the values too, and the places inside JSON.
    """
    places = sorted({_place(field) for field in found.fields})
    fields = [_kept(field, key, with_values) for field in found.fields[:_MOST_FIELDS]]
    return DifferenceRecord(places, masked(arguments), fields)


def masked(arguments: Mapping[str, Any]) -> str:
    """The arguments of a call: ids of companies, clients and so on, dates and switches; of texts only their length."""
    return ", ".join(f"{name}={_masked(name, value)}" for name, value in arguments.items())


def _masked(name: str, value: object) -> str:
    if name == "phone":
        return mask_phone(str(value))
    if name == "order_by" or isinstance(value, _SHOWN):
        return str(value)
    return f"<{len(str(value))} characters>"


def _place(field: ValueDifference) -> str:
    types = {_type(field, field.left), _type(field, field.right)}
    return f"{field.path} ({' or '.join(sorted(types))})"


def _kept(field: ValueDifference, key: bytes, with_values: bool) -> dict[str, Any]:
    sides = (field.left, field.right)
    kept: dict[str, Any] = {
        "path": field.path,
        "types": [_type(field, side) for side in sides],
        "hashes": [_hash(side, key) for side in sides],
    }
    if with_values:
        kept["values"] = [_text(side) for side in sides]
        if field.path not in _WHOLE:
            inner = value_differences(field.path, *sides)
            kept["inside"] = [place.path for place in inner[:_MOST_FIELDS] if place.path != field.path]
    return kept


def _type(field: ValueDifference, value: object) -> str:
    if field.path == "(answer)":
        return str(value)  # the code of an error
    if field.path == "(row)" and value is None:
        return "missing"
    return type(value).__name__


def _hash(value: object, key: bytes) -> str:
    whole = tuple(value) if isinstance(value, tuple) else value  # a row shows no more than its id
    text = f"{type(value).__name__} {_plain(whole)}"
    return hmac.digest(key, text.encode(errors="surrogatepass"), "sha256").hex()[:16]


def _text(value: object) -> str:
    return _plain(value)[:_LONGEST_VALUE]


def _plain(value: object) -> str:
    if isinstance(value, (dict, list)):
        return json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)
    return str(value)
