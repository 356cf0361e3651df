"""What is shown of a call that was answered differently, and whose times count: answers made up, no store asked."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from app.cli.commands.parity import parity_document, parity_words
from app.cli.render import say_words
from app.data_layer import Result
from app.parity.comparison import Comparison, MethodParity
from app.parity.reads import Call


class _Answers:
    """Stands where a data layer does, and answers every call with the same."""

    def __init__(self, data: object, error_code: str | None = None) -> None:
        self._data = data
        self._error_code = error_code

    def __getattr__(self, operation: str) -> Any:
        async def answer(*_arguments: object, **_options: object) -> Result[object]:
            error = self._error_code and "refused"
            return Result(not error, self._data, error, self._error_code, operation, datetime.now(UTC))

        return answer


async def _compared(call: Call, supabase: _Answers, postgresql: _Answers) -> tuple[Comparison, MethodParity]:
    comparison = Comparison(supabase, postgresql)  # type: ignore[arg-type]
    await comparison.run([call], reading=True)
    return comparison, comparison.methods[call.method]


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        (Call("get_service_by_id", (18356344,)), "get_service_by_id(18356344)"),
        (Call("get_client_by_id", (123456789012, 962302)), "get_client_by_id(123456789012, 962302)"),
        (
            Call("get_staff_schedule", (2302000, date(2026, 5, 4), 962302)),
            "get_staff_schedule(2302000, 2026-05-04, 962302)",
        ),
        (Call("get_staff_schedule", (2302000, "2026-02-30")), "get_staff_schedule(2302000, '2026-02-30')"),
        (
            Call("get_staff_schedules", (962302,), {"date_from": date(2026, 5, 4), "staff_id": 123456789}),
            "get_staff_schedules(962302, date_from=2026-05-04, staff_id=123456789)",
        ),
        (Call("get_client_by_phone", ("+79000000077", 962302)), "get_client_by_phone('+7900***0077', 962302)"),
        (Call("get_client_by_phone", (79000000077,)), "get_client_by_phone(7900***0077)"),
        (Call("get_client_by_phone", ("12-34-56-78",)), "get_client_by_phone('***')"),
        (Call("get_dialog_context", ("79000000077@c.us",)), "get_dialog_context('7900***0077@c.us')"),
        (Call("upsert_client", ({"phone": "79000000077"},)), "upsert_client(<1 columns>)"),
        (Call("upsert_clients", ([{"phone": "79000000077"}],)), "upsert_clients(<1 rows>)"),
    ],
)
async def test_phones_are_masked_and_ids_and_dates_are_not(call: Call, shown: str) -> None:
    _, method = await _compared(call, _Answers(1), _Answers(2))
    assert method.first_difference == f"{shown}: data"


@pytest.mark.parametrize(
    ("theirs", "ours", "counted"),
    [(None, None, 1), ("invalid_argument", "invalid_argument", 0), (None, "timeout", 0), ("timeout", None, 0)],
)
async def test_times_of_answers_that_are_no_success_do_not_count(
    theirs: str | None, ours: str | None, counted: int, capsys: pytest.CaptureFixture[str]
) -> None:
    comparison, method = await _compared(Call("get_company", (1,)), _Answers(None, theirs), _Answers(None, ours))
    assert (len(method.supabase_seconds), len(method.postgresql_seconds)) == (counted, counted)
    assert (method.p50 is None) == (counted == 0)
    say_words(parity_words(parity_document(comparison)))
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("get_company"))
    assert (line.split()[4:6] == ["-", "-"]) == (counted == 0)


class _Changing(_Answers):
    """Answers in turn, the last one for ever: a row that is changed between two reads."""

    def __init__(self, *data: object) -> None:
        super().__init__(data[-1])
        self._turns = list(data)

    def __getattr__(self, operation: str) -> Any:
        if len(self._turns) > 1:
            self._data = self._turns.pop(0)
        else:
            self._data = self._turns[0]
        return super().__getattr__(operation)


async def test_a_row_that_changes_between_the_two_reads_is_read_again_before_it_counts() -> None:
    _, method = await _compared(Call("get_company", (1,)), _Changing("old", "new"), _Changing("new"))
    assert (method.calls, method.equal, method.different, method.first_difference) == (1, 1, 0, None)
    _, method = await _compared(Call("get_company", (1,)), _Changing("old"), _Changing("new"))
    assert (method.calls, method.equal, method.different) == (1, 0, 1)


@pytest.mark.parametrize(
    ("theirs", "ours", "following"),
    [
        (None, "unavailable", "botdata parity, when both stores answer"),
        ("timeout", None, "botdata parity, when both stores answer"),
        (None, "rejected", "botdata verify"),
    ],
)
async def test_a_store_that_gives_no_answer_is_not_taken_for_rows_that_differ(
    theirs: str | None, ours: str | None, following: str
) -> None:
    comparison, _ = await _compared(Call("get_company", (1,)), _Answers(None, theirs), _Answers(None, ours))
    found = parity_document(comparison)
    assert (found["ok"], found["next"]) == (False, following)
    assert [following in str(line) for line in parity_words(found)][-1]


async def test_beside_a_cutover_equal_answers_do_not_lead_to_the_plain_one() -> None:
    comparison, _ = await _compared(Call("get_company", (1,)), _Answers(None), _Answers(None))
    comparison.stage_moves = True
    assert parity_document(comparison)["next"] == "botdata cutover status"
