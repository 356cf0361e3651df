"""Where a primary's write-ahead log stands, as expressions of SQL, and as what was read of them.

A promoted standby begins a new timeline, which has a higher number. So of two servers that take writes, the one on the
lower timeline is an old primary. Everyone may call these functions (PostgreSQL, "Backup Control Functions"); a standby
knows neither.
"""

from typing import NamedTuple

# A log file's name begins with its timeline, in eight hexadecimal digits.
TIMELINE = (
    "CASE WHEN NOT pg_is_in_recovery() "
    "THEN CAST(CAST('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8) AS bit(32)) AS bigint) END"
)
INSERT_LSN = "CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn() END"


def lsn_as_number(expression: str) -> str:
    """An LSN's bytes since the beginning of the log, as a bigint."""
    return f"CAST({expression} - CAST('0/0' AS pg_lsn) AS bigint)"


class WalPlace(NamedTuple):
    """A place in the log: of two on one timeline, the one with the higher LSN is later.

    Attributes:
        timeline: from 1.
        lsn: in bytes since the beginning of the log.
    """

    timeline: int
    lsn: int
