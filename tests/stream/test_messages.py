"""The decoder, on bytes that PostgreSQL 18 sent, and on whatever is made of such bytes."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import StoreError
from app.migration.stream.source.messages import (
    Begin,
    Commit,
    Delete,
    Insert,
    Other,
    Relation,
    RelationColumn,
    Truncate,
    Unchanged,
    Update,
    decode,
)
from app.migration.stream.source.slot import lsn_text, parse_lsn

_T, _F = 0x4003, 0x400B
_COLUMNS = (RelationColumn("id", True, 23, -1), RelationColumn("v", False, 25, -1))
# CREATE TABLE t (id integer PRIMARY KEY, v text, m mood); f (id integer, v text) with REPLICA IDENTITY FULL.
RECORDED = {
    "4200000000016f75b800030471982715e9000002f3": Begin(
        0x16F75B8, datetime(2026, 11, 29, 23, 41, 0, 645865, tzinfo=UTC), 755
    ),
    "4f000000000000000066617200": Other("O"),
    "59000040017075626c6963006d6f6f6400": Other("Y"),
    "52000040037075626c69630074006400030169640000000017ffffffff00760000000019ffffffff006d0000004001ffffffff": Relation(
        _T, "public", "t", "d", (*_COLUMNS, RelationColumn("m", False, 0x4001, -1))
    ),
    "49000040034e00037400000001317400000002c3a974000000026f6b": Insert(_T, ["1", "é", "ok"]),
    "49000040034e00037400000001326e6e": Insert(_T, ["2", None, None]),
    "430000000000016f75b800000000016f760000030471982715e9": Commit(0x16F75B8, 0x16F7600),
    "55000040034e00037400000001397574000000026f6b": Update(_T, None, ["9", Unchanged.TOAST, "ok"]),
    "55000040034b00037400000001326e6e4e00037400000001336e6e": Update(_T, ["2", None, None], ["3", None, None]),
    "44000040034b00037400000001316e6e": Delete(_T, ["1", None, None]),
    "520000400b7075626c69630066006600020169640000000017ffffffff01760000000019ffffffff": Relation(
        _F, "public", "f", "f", tuple(RelationColumn(one.name, True, one.type_oid, -1) for one in _COLUMNS)
    ),
    "550000400b4f00027400000001317400000001614e0002740000000131740000000162": Update(_F, ["1", "a"], ["1", "b"]),
    "440000400b4f0002740000000131740000000162": Delete(_F, ["1", "b"]),
    "540000000200000040030000400b": Truncate((_T, _F)),
}


@pytest.mark.parametrize(("data", "message"), RECORDED.items(), ids=lambda one: type(one).__name__)
def test_what_was_recorded(data: str, message: object) -> None:
    assert decode(bytes.fromhex(data)) == message


def _varied() -> st.SearchStrategy[bytes]:
    known = st.sampled_from([bytes.fromhex(data) for data in RECORDED])
    cut = st.builds(lambda data, at: data[: at % len(data)], known, st.integers(0, 200))
    longer = st.builds(lambda data, more: data + more, known, st.binary(min_size=1, max_size=5))
    flipped = st.builds(
        lambda data, at, value: data[: at % len(data)] + bytes([value]) + data[at % len(data) + 1 :],
        known,
        st.integers(0, 200),
        st.integers(0, 255),
    )
    return cut | longer | flipped | st.binary(max_size=60)


@given(_varied())
@example(bytes.fromhex("4200000000016f75b87fffffffffffffff000002f3"))  # no year that there is
def test_other_bytes_are_a_message_or_an_error_of_ours(data: bytes) -> None:
    try:
        decode(data)
    except StoreError:
        return


@pytest.mark.parametrize("data", [data for data, one in RECORDED.items() if not isinstance(one, Other)])
def test_a_part_of_a_message_is_none(data: str) -> None:
    whole = bytes.fromhex(data)
    for end in range(len(whole)):
        with pytest.raises(StoreError):
            decode(whole[:end])
    with pytest.raises(StoreError):
        decode(whole + b"\0")


@given(st.integers(0, 2**64 - 1))
def test_an_lsn_and_its_text(lsn: int) -> None:
    assert parse_lsn(lsn_text(lsn)) == lsn


@pytest.mark.parametrize("text", ["", "16", "16/", "x/1", "16/B374D848/1", "123456789/0"])
def test_what_is_no_lsn(text: str) -> None:
    with pytest.raises(ValueError, match="two hexadecimal numbers"):
        parse_lsn(text)
