"""The two stores under the contract suite: the same rows in both, and a data layer on each."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from app import models
from app.common.metrics import Metrics
from app.cutover.stages import Stage, Store
from app.data_layer import DataLayer, Result
from app.data_layer.store_wiring import open_repository, open_supabase
from app.parity.comparison import differences
from app.settings import Settings

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
TABLES = sorted(name for name, table in models.Base.metadata.tables.items() if table.info["group"] == "business")

_METHODS_WRITE = ("clients", "companies", "dialog_contexts", "services", "staff_schedules")
_WRITTEN = " UNION ALL ".join(f"SELECT '{name} ' || t::text FROM {name} t" for name in _METHODS_WRITE) + " ORDER BY 1"
_LAST_ZEROS = re.compile(r"(\.\d+?)0+\b")
# In two, since Citus joins no view of the catalog with its tables; the first one answers nearly always.
_IS_USED = (
    "SELECT EXISTS (SELECT FROM pg_sequences WHERE last_value IS NOT NULL)",
    "SELECT " + " OR ".join(f"EXISTS (SELECT FROM {name})" for name in TABLES),
)


@dataclass
class Clock:
    """The time that the data layers go by."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True)
class Stores:
    """Both stores.

    Attributes:
        layers: a data layer by backend, "supabase" and "postgresql".
        database_urls: libpq URLs of the databases behind them, likewise.
        stages: a data layer at each stage of a cutover from the one to the other.
        connections: to the two databases, each statement a transaction.
        tool: the schema of the tool's own tables.
        follow: waits until standbys have what was written behind the data layers' back.
    """

    layers: dict[str, DataLayer]
    database_urls: dict[str, str]
    stages: dict[Stage, DataLayer] = field(default_factory=dict)
    connections: list[psycopg.Connection[Any]] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    tool: str = "botdata"
    follow: Callable[[], None] = lambda: None

    @property
    def urls(self) -> list[str]:
        """The databases."""
        return list(self.database_urls.values())

    def insert(self, table: str, *rows: dict[str, Any]) -> None:
        """Insert rows into both stores, behind the data layer's back; text stands for any type.

        What the stores' clocks would fill is the same in both.
        """
        stamps = _stamps(table)
        for url in self.urls:
            insert(url, table, *[stamps | row for row in rows])
        self.follow()

    def authority_of(self, layer: DataLayer) -> Store:
        """The store that answers one of the stages' layers."""
        return next(stage for stage, known in self.stages.items() if known is layer).authority

    def url_of(self, layer: DataLayer) -> str:
        """The database of the store that answers one of the stages' layers."""
        return self.database_urls["supabase" if self.authority_of(layer) is Store.SUPABASE else "postgresql"]

    def execute(self, statement: str) -> None:
        """Run a statement on both stores."""
        for url in self.urls:
            with psycopg.connect(url) as connection:
                connection.execute(statement.encode())
        self.follow()

    def empty(self) -> None:
        """Remove every row, and start the ids from 1 again, where there is anything."""
        for connection in self.connections:
            if any(connection.execute(query.encode()).fetchone() == (True,) for query in _IS_USED):
                connection.execute(f"TRUNCATE {', '.join(TABLES)} RESTART IDENTITY".encode())
        self.connections[1].execute(f"TRUNCATE {self.tool}.notes, {self.tool}.outbox".encode())
        self.follow()

    def written(self) -> list[list[str]]:
        """What either store holds of the tables that methods write, as text.

        Without the last zeros of decimals: some servers in place of PostgREST read JSON's numbers as binary ones.
        """
        return [
            [_LAST_ZEROS.sub(r"\1", row[0]) for row in connection.execute(_WRITTEN.encode()).fetchall()]
            for connection in self.connections
        ]

    async def ask(self, method: str, *arguments: Any, **options: Any) -> Result[Any]:
        """Call a method on both and require the same answer.

        Columns that the stores fill are compared by type only in the answers of writes that do not give them.
        """
        answers = [await getattr(layer, method)(*arguments, **options) for layer in self.layers.values()]
        assert differences(answers[0], answers[1], arguments if method.startswith("upsert_") else None) == []
        return answers[0]


def _stamps(table: str) -> dict[str, str]:
    columns = models.Base.metadata.tables[table].columns
    return {c.name: "2026-01-01 10:00" for c in columns if models.store_filled(c) and c.type.python_type is datetime}


def insert(url: str, table: str, *rows: dict[str, Any]) -> None:
    """Insert rows by SQL; text stands for any type."""
    with psycopg.connect(url) as connection:
        for row in rows:
            statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                sql.Identifier(table),
                sql.SQL(", ").join(map(sql.Identifier, row)),
                sql.SQL(", ").join([sql.Placeholder()] * len(row)),
            )
            connection.execute(statement, list(row.values()))


def rows_of(url: str, statement: str) -> list[dict[str, Any]]:
    """The rows of a statement on a store's database."""
    with psycopg.connect(url) as connection:
        return connection.cursor(row_factory=dict_row).execute(statement.encode()).fetchall()


async def open_layer(settings: Settings, backend: str, clock: Clock) -> DataLayer:
    """A data layer on one of the two backends."""
    metrics = Metrics()
    if backend == "supabase":
        return DataLayer(await open_supabase(settings), settings, clock=clock)
    opened = await open_repository(settings, metrics=metrics)
    if opened.router is not None:
        opened.router.start()
    return DataLayer(opened, settings, clock=clock, metrics=metrics)
