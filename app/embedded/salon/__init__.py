"""A made-up salon, for the demo, the tests and the benchmarks."""

from app.embedded.salon.fill import fill_salon
from app.embedded.salon.ids import COMPANY_ID, TIMEZONE

__all__ = ["COMPANY_ID", "TIMEZONE", "fill_salon"]
