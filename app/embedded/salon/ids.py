"""The made-up salon's numbers and phones, which several of its tables repeat."""

Row = dict[str, object]

COMPANY_ID = 962302
TIMEZONE = "Europe/Moscow"
# +7 900 000-00-01 and on: valid in form.
_FIRST_PHONE = 79_000_000_000
_FIRST_CLIENT_ID = 150_000_000
_APART = 10_000_000  # between the numbers of one salon and of the next


def phone(salon: int, number: int) -> str:
    """The phone of a salon's client: E.164 digits without plus; both counted from 0."""
    return str(_FIRST_PHONE + salon * _APART + number + 1)


def client_id(salon: int, number: int) -> int:
    """The `yclients_id` of a salon's client; both counted from 0."""
    return _FIRST_CLIENT_ID + salon * _APART + number


def service_id(company_id: int, number: int) -> int:
    """The `yclients_id` of a salon's service, counted from 0."""
    return 15_000_000 + company_id % 1000 * 1000 + number


def staff_id(company_id: int, number: int) -> int:
    """The `yclients_id` of a member of a salon's staff, counted from 0."""
    return 2_000_000 + company_id % 1000 * 1000 + number


def record_id(company_id: int, number: int) -> int:
    """The `yclients_record_id` of a salon's booking, counted from 0."""
    return 700_000_000 + company_id % 1000 * 1_000_000 + number
