"""What a report holds, as plain values: the page shows them, and a document of JSON is them."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from psycopg import AsyncConnection

from app.common.latency import Latencies
from app.cutover.stages import Store
from app.errors import error_for_sqlstate
from app.migration.runs.status import RunStatus, Status
from app.migration.tables.copy_table import CopyTable, named
from app.privacy import mask_free_text, mask_phone
from app.state import tool_schema
from app.state.cutover.accepted_differences import read_accepted
from app.state.cutover.comparisons import DifferenceReport, MethodReport, read_differences, read_methods
from app.state.cutover.moves import PastMove, read_moves
from app.state.cutover.processes import read_processes
from app.state.cutover.stage import read_stage_row
from app.state.cutover.standby_reads import StandbyReads, together
from app.state.digests import BUCKETS, KeptDigest
from app.state.fetching import fetch_rows, fetch_value
from app.state.runs import quarantine
from app.state.runs.verifications import last_verifications, verify_steps

_Mask = Callable[[str], str]
KIND = "botdata report"
VERSION = 1  # of the document; raised where an older botdata could not check it
_MOST = 1000  # runs, moves and so on, the newest
_KEYS_SHOWN = 3  # of a reason in quarantine
_MONTH = 30 * 86_400.0


async def gather(
    connection: AsyncConnection, status: Status, tables: Sequence[CopyTable], secrets: Sequence[str]
) -> dict[str, Any]:
    """All that the target knows, without the tables' digests.

    Args:
        secrets: of the settings, which are masked in texts that people gave.

    Raises:
        psycopg.Error: the target failed.
    """
    mask = partial(mask_free_text, secrets=secrets)
    verified = await last_verifications(connection)
    reasons = await _reasons(connection)
    stage = await read_stage_row(connection)
    moves = await read_moves(connection, _MOST)
    reads = together(process.reads for process in await read_processes(connection))
    steps = [_run(run) for run in status.runs[:_MOST]]
    steps += [
        {
            "step": "verify", "number": None, "source": one.source, "state": "complete", "begun_at": one.began_at,
            "finished_at": one.ended_at, "seconds": round(one.seconds, 1), "tables": one.tables,
            "differences": one.differences,
        }
        for one in await verify_steps(connection, _MOST)
    ]  # fmt: skip
    return {
        "versions": {
            "botdata": version("botdata-postgres"),
            "server": await fetch_value(connection, "SELECT current_setting('server_version')"),
            "revision": await _revision(connection),
            "state": await tool_schema.version(connection),
        },
        "steps": sorted(steps, key=lambda step: step["begun_at"]),
        "tables": [
            {
                "table": table.name,
                "bytes": await _bytes(connection, table),
                "verified": {
                    "at": last.ended_at, "source": last.source, "differences": last.differences
                } if (last := verified.get(table.name)) else None,
                "quarantined": sum(one["rows"] for one in reasons if one["table"] == table.name),
            }
            for table in tables
        ],
        "foreign_keys": [
            {"table": key.of_table, "name": key.name, "state": key.state} for key in status.foreign_keys
        ],
        "quarantine": reasons,
        "stage": {
            "stage": stage.stage, "moved_at": _moment(stage.moved_at), "finished_at": _moment(stage.finished_at),
            "moves": stage.moves, "timeline": stage.server_timeline,
            "reads": _reads(reads, mask) if reads else None,
        },
        "moves": [_move(move, mask) for move in reversed(moves)],
        "comparisons": {
            "methods": [_method(method) for method in await read_methods(connection, _MONTH)],
            "differences": [_difference(one, mask) for one in await read_differences(connection, _MONTH, _MOST)],
            "accepted": [
                {
                    "method": one.method, "field": one.field, "places": one.places, "until": str(one.until),
                    "reason": mask(one.reason), "accepted_by": one.accepted_by,
                    "accepted_at": _moment(one.accepted_at), "ended": one.ended,
                }
                for one in await read_accepted(connection)
            ],
        },
        "streams": [stream.document for stream in status.streams],
        "inventory": {
            "taken_at": status.inventory.taken_at,
            "source": status.inventory.source,
            "items": len(status.inventory.items),
            "open": [mask(item) for item in status.inventory.open_items],
        } if status.inventory else None,
        "limits": read_limits(),
    }  # fmt: skip


def digest_facts(digest: KeptDigest | None) -> dict[str, Any] | None:
    """A side of a table: `hash` is the sum of all rows' hashes, and the last value of a bucket is that of its rows'."""
    if digest is None:
        return None
    return {
        "made_at": digest.made_at,
        "source": digest.source,
        "rows": digest.rows,
        "counted": digest.counted,
        "columns": list(digest.columns),
        "hash": f"{digest.total:064x}",
        "buckets": [[n, bucket.rows, f"{bucket.total:064x}"] for n, bucket in sorted(digest.buckets.items())],
    }


def hash_facts(key: str) -> dict[str, Any]:
    """How the digests were made."""
    return {"algorithm": "HMAC-SHA-256", "key": key, "buckets": BUCKETS}


def open_points(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """What is not as it should be, or was not looked at, as codes with counts; none of it is left out."""
    tables = facts["tables"]
    verified = [table["verified"] for table in tables]
    points = {
        "unfinished": sum(step["state"] in {"running", "stopped"} for step in facts["steps"]),
        "never_verified": verified.count(None),
        "differences": sum(one["differences"] for one in verified if one),
        "hashes_differ": sum(table["equal"] is False for table in tables),
        "not_hashed": sum(table["equal"] is None for table in tables),
        "counted_otherwise": sum(_is_partial(table[side]) for table in tables for side in ("source", "target")),
        "quarantined": sum(reason["rows"] for reason in facts["quarantine"]),
        "foreign_keys": len(facts["foreign_keys"]),
        "calls_differ": sum(one["different"] for one in facts["comparisons"]["methods"] if not one["against_itself"]),
        "no_inventory": int(facts["inventory"] is None),
        "inventory_open": len(facts["inventory"]["open"]) if facts["inventory"] else 0,
        "not_moved": len(facts["not_moved"]),
    }
    return [{"point": point, "count": count} for point, count in points.items() if count]


def _is_partial(digest: dict[str, Any] | None) -> bool:
    return digest is not None and digest["counted"] != digest["rows"]


async def _reasons(connection: AsyncConnection) -> list[dict[str, Any]]:
    reasons: dict[tuple[Any, ...], dict[str, Any]] = {}
    for table, sqlstate, place, count in await quarantine.count_by_reason(connection, None):
        reasons[table, sqlstate, place] = {
            "table": table, "sqlstate": sqlstate, "reason": _meaning(sqlstate), "place": place, "rows": count,
            "first": [],
        }  # fmt: skip
    for number, table, key, sqlstate, place, _ in await quarantine.first_rows(connection, None, _MOST):
        first = reasons[table, sqlstate, place]["first"] if (table, sqlstate, place) in reasons else []
        if len(first) < _KEYS_SHOWN:
            first.append({"number": number, "key": [mask_phone(part) for part in key]})
    return list(reasons.values())


def _meaning(sqlstate: str) -> str:
    return str(error_for_sqlstate(sqlstate)).partition(" [")[0]


def _run(run: RunStatus) -> dict[str, Any]:
    return {
        "step": run.command, "number": run.number, "source": run.source, "state": run.state,
        "begun_at": run.begun_at, "finished_at": run.finished_at, "seconds": _between(run.begun_at, run.finished_at),
        "tables": None, "differences": None,
    }  # fmt: skip


def _move(move: PastMove, mask: _Mask) -> dict[str, Any]:
    return {
        "number": move.number, "kind": move.kind, "from": move.from_stage, "to": move.to_stage,
        "subject": move.subject, "state": move.state, "begun_at": move.begun_at, "ended_at": move.ended_at,
        "seconds": _between(move.begun_at, move.ended_at), "done_by": move.done_by,
        "forced": move.is_forced, "reason": mask(move.reason) if move.reason is not None else None,
        "said": mask(move.said) if move.said is not None else None,
    }  # fmt: skip


def _reads(reads: StandbyReads, mask: _Mask) -> dict[str, Any]:
    standbys = tuple(one._replace(standby=mask(one.standby)) for one in reads.standbys)
    return reads._replace(standbys=standbys).document()


def _method(method: MethodReport) -> dict[str, Any]:
    calls = method.by_store
    return {
        "stage": method.stage, "method": method.method, "against_itself": method.against_itself,
        "calls": method.calls, "compared": method.compared, "equal": method.equal, "different": method.different,
        "error": method.error, "skipped": method.skipped,
        "latencies": {
            str(store): {
                "p50": _rounded(Latencies(calls[store]).quantile(0.5)),
                "p99": _rounded(Latencies(calls[store]).quantile(0.99)),
                "counts": calls[store],
            }
            for store in Store
        },
    }  # fmt: skip


def _difference(one: DifferenceReport, mask: _Mask) -> dict[str, Any]:
    return {
        "stage": one.stage, "method": one.method, "against_itself": one.against_itself,
        "cause": mask(one.cause), "count": one.count,
        "first_at": _moment(one.first_at), "last_at": _moment(one.last_at),
    }  # fmt: skip


async def _bytes(connection: AsyncConnection, table: CopyTable) -> int | None:
    """Of the table with its partitions, indexes and long values."""
    size: int | None = await fetch_value(
        connection,
        "SELECT sum(pg_total_relation_size(relid))::bigint FROM (SELECT to_regclass(%(name)s) AS relid UNION "
        "SELECT relid FROM pg_partition_tree(to_regclass(%(name)s))) r",
        {"name": named(connection, table.identifier)},
    )
    return size


async def _revision(connection: AsyncConnection) -> str | None:
    if not await fetch_value(connection, "SELECT to_regclass('<data schema>.alembic_version') IS NOT NULL"):
        return None
    return ", ".join(
        one for (one,) in await fetch_rows(connection, "SELECT version_num FROM <data schema>.alembic_version")
    )


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _between(begun_at: str, ended_at: str | None) -> float | None:
    """Seconds between two moments."""
    if ended_at is None:
        return None
    return (datetime.fromisoformat(ended_at) - datetime.fromisoformat(begun_at)).total_seconds()


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def limits_file() -> Path:
    """The document: inside the installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "docs" / "limits.md"
    return installed if installed.exists() else package.parent / "docs" / "limits.md"


def read_limits() -> list[dict[str, str]]:
    """What no check can find: the rows of its table, which alone says it, with backticks around code."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", limits_file().read_text(encoding="utf-8"), re.MULTILINE)
    return [{"what": what, "who": who, "remedy": remedy} for what, who, remedy in rows[1:]]
