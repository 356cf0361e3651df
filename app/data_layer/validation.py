"""The checks of arguments, the same for both backends: what passes is valid and canonical."""

from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Table

from app import models
from app.data_layer.name_search import containing
from app.data_layer.phones import normalize_phone
from app.data_layer.values import Convert, UnfitError, converter, day, integer, plain_text
from app.errors import DuplicateInBatchError, InvalidArgumentError, InvalidPhoneError
from app.settings import Settings
from app.stores.codec.rows import natural_key, table_of

T = TypeVar("T")
_ORDERS = ("datetime", "created_at", "cost")
_LONGEST_NAME = 63  # of a column in PostgreSQL
_LONGEST_TEXT = 255  # of the text columns that are looked up


class _Rules(NamedTuple):
    """What a write needs beside its columns' types: columns that must be given and not blank, and positive ids."""

    needed: tuple[str, ...]
    trimmed: tuple[str, ...]
    identifiers: tuple[str, ...]


_IDENTIFIERS = ("yclients_id", "company_id", "staff_id", "category_id")
_RULES: dict[type[models.Base], _Rules] = {
    models.DialogContext: _Rules((), (), _IDENTIFIERS),
    models.Client: _Rules(("name", "phone"), ("name",), _IDENTIFIERS),
    models.StaffSchedule: _Rules(("staff_name",), (), _IDENTIFIERS),
    models.Service: _Rules(("title",), ("title",), _IDENTIFIERS),
    models.Company: _Rules(("title",), ("title",), _IDENTIFIERS),
}


class Checks:
    """The checks as the settings have them.

    `validate_input=False` switches off two of them: that identifiers are positive, and that a write gives the columns
    it needs though the store could do without. What a store could not take, or would take differently, is always
    refused: a row without a column that is NOT NULL and has no default is, even where the stored row has a value.

    Every method raises InvalidArgumentError, or a kind of it, naming the argument or the column.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._strict = settings.validate_input

    def identifier(self, name: str, value: object) -> int:
        """A positive integer, or one in a string."""
        number = _fit(name, integer, value)
        if self._strict and number <= 0:
            raise InvalidArgumentError(f"{name} must be a positive integer", field=name)
        return number

    def limit(self, name: str, value: object) -> int:
        """An integer brought into 1..max_limit; None is default_limit."""
        if value is None:
            value = self._settings.default_limit
        number = _fit(name, lambda given: integer(given, bits=63), value)
        return max(1, min(number, self._settings.max_limit))

    def phone(self, name: str, value: object) -> str:
        """E.164 digits."""
        return normalize_phone(value, self._settings.default_phone_region, field=name)

    def text(self, name: str, value: object) -> str:
        """A string that is not blank, of a text column's length at most."""
        text = _fit(name, plain_text, value)
        if not text.strip():
            raise InvalidArgumentError(f"{name} must not be empty", field=name)
        if len(text) > _LONGEST_TEXT:
            raise InvalidArgumentError(f"{name} must be at most {_LONGEST_TEXT} characters long", field=name)
        return text

    def day(self, name: str, value: object) -> date:
        """A `date`, or `YYYY-MM-DD`."""
        return _fit(name, day, value)

    def switch(self, name: str, value: object) -> bool:
        """True or False."""
        if not isinstance(value, bool):
            raise InvalidArgumentError(f"{name} must be True or False", field=name)
        return value

    def order(self, name: str, value: object) -> str:
        """A column that appointments can be ordered by."""
        if not isinstance(value, str) or value not in _ORDERS:
            raise InvalidArgumentError(f"{name} must be one of {', '.join(_ORDERS)}", field=name)
        return value

    def arguments(self, method: str, given: Mapping[str, object]) -> dict[str, Any]:
        """The arguments of a reading method, by the names that the backend takes them by."""
        checks = _READS[method]
        return {name: checks[name](self, name, value) for name, value in given.items()}

    def batch(self, model: type[models.Base], rows: object, stamps: Mapping[str, object]) -> list[dict[str, Any]]:
        """1 to max_batch_size rows, no two with one natural key or one given `id`.

        `stamps` are set on each, whatever it says of them.

        The error for a bad row has its index.
        """
        most = self._settings.max_batch_size
        if not isinstance(rows, (list, tuple)):
            raise InvalidArgumentError("a list of rows is needed")
        if not 1 <= len(rows) <= most:
            raise InvalidArgumentError(f"1 to {most} rows can be written at once, not {len(rows)}")
        keys = (natural_key(table_of(model)), ("id",))
        checked = []
        seen = set()
        for index, row in enumerate(rows):
            values = self.row(model, row, stamps, index=index)
            for key in keys:
                identity = (key, *[values.get(name) for name in key])
                if identity in seen:
                    raise DuplicateInBatchError(
                        f"an earlier row has the same {' and '.join(key)}", field=key[0], index=index
                    )
                if None not in identity:
                    seen.add(identity)
            checked.append(values)
        return checked

    def row(
        self, model: type[models.Base], row: object, stamps: Mapping[str, object], *, index: int | None = None
    ) -> dict[str, Any]:
        """The values of one row to write, by column."""
        if not isinstance(row, Mapping):
            raise InvalidArgumentError("a row is a mapping from columns to values", index=index)
        table = table_of(model)
        rules = _RULES[model]
        converters = _converters(table)
        phone = "phone" if model is models.Client else None
        values: dict[str, Any] = {}
        for name, value in row.items():
            convert = converters.get(name)
            if convert is None:
                # Nothing else is repeated: a key may be a value in the wrong place, and of any type and length.
                known = name if isinstance(name, str) and len(name) <= _LONGEST_NAME and name.isidentifier() else None
                shown = known or "of this name"
                raise InvalidArgumentError(f"{table.name} has no column {shown}", field=known, index=index)
            if name == phone and value is not None:
                values[name] = self._client_phone(value, index)
                continue
            try:
                values[name] = convert(value.strip() if name in rules.trimmed and isinstance(value, str) else value)
            except UnfitError as error:
                raise InvalidArgumentError(f"{name} {error}", field=name, index=index) from None
            except RecursionError:
                raise InvalidArgumentError(f"{name} is nested too deep", field=name, index=index) from None
        always = _always_needed(table)
        for name in (*always, *(rules.needed if self._strict else ())):
            if values.get(name) is None:
                raise InvalidArgumentError(f"{name} is needed", field=name, index=index)
        for name in (*always, *rules.needed):
            if isinstance(values.get(name), str) and not values[name].strip():
                raise InvalidArgumentError(f"{name} must not be empty", field=name, index=index)
        if self._strict:
            for name in rules.identifiers:
                if values.get(name) is not None and values[name] <= 0:
                    raise InvalidArgumentError(f"{name} must be a positive integer", field=name, index=index)
        values.update(stamps)
        return values

    def _client_phone(self, phone: object, index: int | None) -> str:
        try:
            return self.phone("phone", phone)
        except InvalidPhoneError as error:
            raise InvalidPhoneError(str(error), field="phone", index=index) from None


Check = Callable[[Checks, str, object], Any]


def _optional(check: Check) -> Check:
    return lambda checks, name, value: None if value is None else check(checks, name, value)


_COMPANY: dict[str, Check] = {"company_id": Checks.identifier}
_ANY_COMPANY: dict[str, Check] = {"company_id": _optional(Checks.identifier)}
# What is checked of each argument of a reading method; `now` is the data layer's own.
_READS: dict[str, dict[str, Check]] = {
    "get_dialog_context": {"user_id": Checks.text},
    "get_client_by_phone": {"phone": Checks.phone, **_ANY_COMPANY},
    "get_client_by_id": {"yclients_id": Checks.identifier, **_ANY_COMPANY},
    "get_client_appointments": {
        "client_id": Checks.identifier,
        "limit": Checks.limit,
        "order_by": Checks.order,
        "descending": Checks.switch,
        **_ANY_COMPANY,
    },
    "get_upcoming_appointments": {"client_id": Checks.identifier, **_COMPANY},
    "search_clients_by_name": {
        "pattern": lambda checks, _, name: containing(checks.text("name", name)),
        "limit": Checks.limit,
        **_COMPANY,
    },
    "get_staff_by_id": {"staff_id": Checks.identifier, **_COMPANY},
    "get_staff_schedules": {
        "limit": Checks.limit,
        "staff_id": _optional(Checks.identifier),
        "staff_name": _optional(Checks.text),
        "date_from": _optional(Checks.day),
        "date_to": _optional(Checks.day),
        "is_working": _optional(Checks.switch),
        **_COMPANY,
    },
    "get_staff_schedule": {
        "staff_id": Checks.identifier,
        "day": lambda checks, _, day: checks.day("date", day),
        **_ANY_COMPANY,
    },
    "get_services": {"include_inactive": Checks.switch, **_COMPANY},
    "get_staff": {"include_inactive": Checks.switch, **_COMPANY},
    "get_service_by_id": {"yclients_id": Checks.identifier, **_ANY_COMPANY},
    "get_services_by_category": {"category_id": Checks.identifier, **_COMPANY},
    "get_company": _COMPANY,
}


@lru_cache
def _converters(table: Table) -> dict[str, Convert]:
    return {column.name: converter(column) for column in table.c}


@lru_cache
def _always_needed(table: Table) -> tuple[str, ...]:
    """The natural key, and the columns that are NOT NULL and have no default."""
    required = [c.name for c in table.c if not (c.nullable or c.primary_key or c.server_default is not None)]
    return tuple(dict.fromkeys((*natural_key(table), *required)))


def _fit(name: str, convert: Callable[[object], T], value: object) -> T:
    try:
        return convert(value)
    except UnfitError as error:
        raise InvalidArgumentError(f"{name} {error}", field=name) from None
