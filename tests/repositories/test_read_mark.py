"""The mark that a standby must have reached, on its own: what raises it, and who may answer at it."""

from app.state.wal import WalPlace
from app.stores.standbys.read_mark import Mark, ReadMark

ONE, OTHER = "one", "other"


def _mark(timeline: int = 1, lsn: int = 100) -> ReadMark:
    mark = ReadMark()
    mark.found(WalPlace(timeline, lsn), mark.times_lost)
    return mark


def _current(mark: ReadMark) -> Mark:
    assert mark.current is not None
    return mark.current


def test_it_is_not_known_before_the_primary_was_asked_nor_after_a_write_whose_place_is_not() -> None:
    mark = ReadMark()
    assert mark.current is None
    asked = mark.times_lost
    mark.reach(WalPlace(1, 90))
    assert mark.current is None
    mark.lose()
    mark.found(WalPlace(1, 100), asked)  # asked before that write
    assert mark.current is None
    mark.found(WalPlace(1, 120), mark.times_lost)
    assert mark.current == Mark(1, 120)


def test_a_look_at_the_primary_raises_no_mark_that_is_known() -> None:
    mark = _mark()
    mark.found(WalPlace(1, 200), mark.times_lost)
    assert mark.current == Mark(1, 100)


def test_a_write_raises_it_and_never_lowers_it() -> None:
    mark = _mark()
    mark.reach(WalPlace(1, 150))
    mark.reach(WalPlace(1, 140))
    assert mark.current == Mark(1, 150)
    assert not _current(mark).allows(WalPlace(1, 149), ONE)
    assert _current(mark).allows(WalPlace(1, 150), ONE)


def test_a_new_timeline_begins_it_anew_and_an_old_one_does_not_answer() -> None:
    mark = _mark(lsn=500)
    mark.found(WalPlace(2, 300), mark.times_lost)
    assert mark.current == Mark(2, 300)
    assert not _current(mark).allows(WalPlace(1, 900), ONE)
    assert _current(mark).allows(WalPlace(2, 300), ONE)
    mark.reach(WalPlace(1, 900))  # as an old primary would say
    assert mark.current == Mark(2, 300)
    assert not mark.shown(WalPlace(1, 900), ONE, is_all=True)


def test_what_a_standby_has_shown_may_be_one_record_more_than_it_said() -> None:
    mark = _mark()
    assert mark.shown(WalPlace(1, 200), ONE, is_all=False)
    assert _current(mark).allows(WalPlace(1, 200), ONE)
    assert not _current(mark).allows(WalPlace(1, 200), OTHER)
    assert _current(mark).allows(WalPlace(1, 201), OTHER)
    assert mark.shown(WalPlace(1, 200), ONE, is_all=True)  # there is no such record
    assert _current(mark).allows(WalPlace(1, 200), OTHER)


def test_two_standbys_that_have_shown_as_much_leave_it_to_none_of_them() -> None:
    mark = _mark()
    for standby in (ONE, OTHER, OTHER):
        mark.shown(WalPlace(1, 200), standby, is_all=False)
    assert not any(_current(mark).allows(WalPlace(1, 200), standby) for standby in (ONE, OTHER))
    assert all(_current(mark).allows(WalPlace(1, 201), standby) for standby in (ONE, OTHER))
    mark.reach(WalPlace(1, 200))
    assert not _current(mark).allows(WalPlace(1, 200), ONE)
