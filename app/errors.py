"""Every error that botdata raises, in one tree, and the one map from SQLSTATE to it.

BotdataError
├── SettingsError             settings that are missing, unclear or contradict each other
├── MigrationError            a step of the move stopped; says what is pending and what to run next
└── DataError                 an answer of the data layer; `code` is stable and documented
    ├── InvalidArgumentError      invalid_argument
    │   ├── InvalidPhoneError         invalid_phone
    │   └── DuplicateInBatchError     duplicate_in_batch
    ├── AmbiguousError            ambiguous
    ├── UnrepresentableValueError unrepresentable_value
    └── StoreError                store_error: the store answered with an error of its own
        ├── UnavailableError          unavailable: not reached, nothing was done
        │   ├── AuthorityMovedError       unavailable: the other store is the one that is written to
        │   ├── NotReachedError           unavailable: no connection to the store was made
        │   └── LongAddressLostError      unavailable: a gateway failed on a long address, and may always do so
        ├── AddressTooLongError       store_error: a server on the way takes no address of this length
        ├── StoreTimeoutError         timeout: a read, or a write that the store rolled back
        │   └── CountTimeoutError         timeout: of an exact count, which takes as long each time
        ├── OutcomeUnknownError       outcome_unknown: a write that may have landed or may still land
        ├── ConflictError             conflict: a unique key is taken
        ├── RejectedError             rejected: the store refuses the values
        ├── AccessDeniedError         access_denied
        └── SchemaMismatchError       schema_mismatch: a table or column is not as the models say

Messages name tables, columns and constraints, never the values in a row, keys or passwords.
"""

from typing import ClassVar

from app.next_step import NextStep

# What to run where something was made by a newer version than this one.
INSTALL_NEWER = "pip install --upgrade WHEEL_OR_CHECKOUT"


class BotdataError(Exception):
    """Root of the tree. `str(error)` is one or two sentences for a person."""


class DriverError(Exception):
    """Stands in for a driver's error as the cause of ours, so that a logged traceback shows no value of a row."""


class SettingsError(BotdataError):
    """A setting is missing, unclear or contradicts another; names the variable."""


class MigrationError(BotdataError):
    """A step of the move stopped.

    Args:
        message: what happened, in one sentence.
        step: the step that stopped, such as "copy".
        table: the table it stopped at, where there is one.
        done: what was done, and is kept, in words.
        pending: what is not done yet, in words.
        next_step: what to do next.
    """

    def __init__(
        self,
        message: str,
        *,
        step: str | None = None,
        table: str | None = None,
        done: str | None = None,
        pending: str | None = None,
        next_step: NextStep | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.step = step
        self.table = table
        self.done = done
        self.pending = pending
        self.next_step = next_step


class DataError(BotdataError):
    """An answer of the data layer that is not a success. `code` is stable."""

    code: ClassVar[str] = "data_error"


class InvalidArgumentError(DataError):
    """Bad input. `field` names the argument or column, `index` the row of a batch (from 0)."""

    code = "invalid_argument"

    def __init__(self, message: str, *, field: str | None = None, index: int | None = None) -> None:
        super().__init__(message if index is None else f"row {index}: {message}")
        self.field = field
        self.index = index


class InvalidPhoneError(InvalidArgumentError):
    """Not a usable phone number."""

    code = "invalid_phone"


class DuplicateInBatchError(InvalidArgumentError):
    """The same key twice in one batch."""

    code = "duplicate_in_batch"


class AmbiguousError(DataError):
    """A lookup of one row matched several."""

    code = "ambiguous"


class UnrepresentableValueError(DataError):
    """A stored value that Python cannot hold, such as `infinity` or a BC date."""

    code = "unrepresentable_value"

    def __init__(self, *, table: str, key: str, column: str, written: bool = False) -> None:
        super().__init__(
            f"{table} row {key}: column {column} holds a value that Python cannot represent"
            + ("; the write itself was carried out" if written else "")
        )
        self.table = table
        self.key = key
        self.column = column


class StoreError(DataError):
    """The store answered with an error. `sqlstate` is PostgreSQL's (or PostgREST's) code, if it gave one."""

    code = "store_error"

    def __init__(self, message: str, *, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class UnavailableError(StoreError):
    """The store was not reached or did not take the call; nothing was done.

    `retry_after` is in seconds, where the store said when to come back.
    """

    code = "unavailable"

    def __init__(self, message: str, *, sqlstate: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, sqlstate=sqlstate)
        self.retry_after = retry_after


class AuthorityMovedError(UnavailableError):
    """The stage of the cutover has moved: this store is not the one to write to. Nothing was done."""


class NotReachedError(UnavailableError):
    """No connection to the store was made, so that no other request would fare better."""


class LongAddressLostError(UnavailableError):
    """A gateway failed on a request whose address is long: it may pass, or be the address."""


class AddressTooLongError(StoreError):
    """A server on the way takes no address as long as the request's."""


class StoreTimeoutError(StoreError):
    """The call took too long; a write was rolled back by the store."""

    code = "timeout"


class CountTimeoutError(StoreTimeoutError):
    """An exact count took longer than the store lets a statement take: the next one would too."""


class OutcomeUnknownError(StoreError):
    """A write was sent and no answer came: it may have landed, or may still land."""

    code = "outcome_unknown"


class ConflictError(StoreError):
    """A unique key is taken by another row."""

    code = "conflict"


class RejectedError(StoreError):
    """The store refuses the values: a constraint, a type or a length."""

    code = "rejected"


class AccessDeniedError(StoreError):
    """The key or role may not do this."""

    code = "access_denied"


class SchemaMismatchError(StoreError):
    """A table, column or function is missing in the store."""

    code = "schema_mismatch"


# PostgreSQL Appendix A, "Error Codes": exact codes first, then classes (two characters). docs/scale-out.md says which
# pooler sends which of them, and means what: all of 08 is "nothing was done" as long as no commit was sent.
_BY_SQLSTATE: dict[str, tuple[type[StoreError], str]] = {
    "28P01": (AccessDeniedError, "the password is refused"),
    "23505": (ConflictError, "a unique key is already taken"),
    "42501": (AccessDeniedError, "the role has no right to do this"),
    "42P01": (SchemaMismatchError, "a table is missing"),
    "42703": (SchemaMismatchError, "a column is missing"),
    "53100": (UnavailableError, "the server's disk is full"),
    "53300": (UnavailableError, "the server has no free connection"),
    "57P01": (UnavailableError, "the server is shutting down, or an administrator ended the connection"),
    "57P03": (UnavailableError, "the server is starting up"),
    "58000": (UnavailableError, "a pooler could not carry the call out"),  # PgCat and PgDog: whatever it is
    "25006": (UnavailableError, "the server accepts no writes at the moment (read-only)"),
    "57014": (StoreTimeoutError, "the statement took too long and was cancelled"),
    "25P03": (StoreTimeoutError, "the transaction was idle too long and was ended"),
    "25P04": (StoreTimeoutError, "the transaction took too long and was ended"),
    "55P03": (StoreTimeoutError, "a lock was not granted in time"),
    "40001": (StoreTimeoutError, "a concurrent change got in the way; the call can be repeated"),
    "40P01": (StoreTimeoutError, "a deadlock was resolved against this call; it can be repeated"),
}
_BY_CLASS: dict[str, tuple[type[StoreError], str]] = {
    "08": (UnavailableError, "the connection failed"),
    "22": (RejectedError, "a value does not fit its column"),
    "23": (RejectedError, "a constraint refuses the row"),
    "28": (AccessDeniedError, "the login was refused"),
    "3D": (UnavailableError, "the database does not exist"),
    "42": (SchemaMismatchError, "a table or column is not as expected"),
    "53": (UnavailableError, "the server is out of resources"),
    "57": (UnavailableError, "the server is shutting down or starting"),
}


_ENDED = "XX000"  # an internal error of PostgreSQL; of Supavisor every one of its own, after which it hangs up


def error_for_sqlstate(sqlstate: str | None, *, detail: str = "", ends_session: bool = False) -> StoreError:
    """The error for a SQLSTATE.

    Args:
        sqlstate: five characters, or None where the server gave none.
        detail: the name of the constraint, column or table, as " (clients_pkey)"; never a value.
        ends_session: its severity is FATAL: whoever sent it ends the connection, and any transaction with it.
    """
    if ends_session and sqlstate == _ENDED:
        return UnavailableError(
            f"a pooler, or the server, ended the connection{detail} [SQLSTATE {sqlstate}]", sqlstate=sqlstate
        )
    if sqlstate is None:
        return StoreError(f"the store answered with an error{detail}")
    error, meaning = _BY_SQLSTATE.get(sqlstate) or _BY_CLASS.get(
        sqlstate[:2], (StoreError, "the store answered with an error")
    )
    return error(f"{meaning}{detail} [SQLSTATE {sqlstate}]", sqlstate=sqlstate)
