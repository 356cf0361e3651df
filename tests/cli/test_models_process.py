"""`--metadata` is imported in a process of its own: the project's package may be called `app`, print, hang or leave."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from app.errors import SettingsError
from app.migration.preflight.duplicates import unique_keys
from app.migration.preflight.schemas.type_passages import model_type
from app.migration.tables import metadata as loading
from app.migration.tables.copy_table import key_columns, name_of
from app.migration.tables.metadata import load_metadata, select_tables
from tests.cli.command import BOTDATA, start
from tests.migration.engine import execute, query
from tests.support.postgres import PostgresServer

_MODELS = """
import os, sys, threading
from sqlalchemy import ARRAY, Column, Computed, DateTime, Enum, ForeignKey, Index, Integer, MetaData, Numeric, String
from sqlalchemy import Table, Text, UniqueConstraint
from sqlalchemy.types import TypeDecorator, UserDefinedType
from app.parts import Money

print("models are imported", flush=True)
os.write(1, b"and a library writes\\n")
threading.Thread(target=threading.Event().wait).start()

class Point(UserDefinedType):
    def get_col_spec(self):
        return "point"

class Nameless(UserDefinedType):
    def get_col_spec(self):
        raise RuntimeError("no name")

Base = MetaData()
shops = Table("shops", Base, Column("id", Integer, primary_key=True), Column("phone", String(20), info={"phone": True}),
    Column("at", Point()), Column("odd", Nameless()), Column("pay", Money()),
    Column("changed", DateTime(timezone=True)), Column("states", ARRAY(Enum("a", "b", name="state"))),
    Column("twice", Integer, Computed("id * 2")), info={"changed_at": "changed", "more": object()})
Table("visits", Base, Column("day", Text), Column("shop", ForeignKey("shops.id")),
    Column("who", ForeignKey("auth.users.id")), Column("n", Integer, nullable=False),
    UniqueConstraint("n", deferrable=True), Index("partial", "shop", unique=True, postgresql_where="n > 1"),
    Index("plain", "day", "n", unique=True), schema="a b")
"""
_PARTS = """
from sqlalchemy import Numeric
from sqlalchemy.types import TypeDecorator

class Money(TypeDecorator):
    impl = Numeric(10, 2)
    cache_ok = True
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose package is called as ours is."""
    package = tmp_path / "app"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "models.py").write_text(_MODELS)
    (package / "parts.py").write_text(_PARTS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_package_of_our_own_name(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    metadata = load_metadata("app.models:Base")
    assert capfd.readouterr() == ("", "models are imported\nand a library writes\n")
    shops, visits = select_tables(metadata)
    assert (name_of(shops), name_of(visits)) == ("shops", "a b.visits")
    assert {column.name: model_type(column) for column in shops.columns} == {
        "id": "integer", "phone": "character varying(20)", "at": "point", "odd": None, "pay": "numeric(10,2)",
        "changed": "timestamp with time zone", "states": "state[]", "twice": "integer",
    }  # fmt: skip
    assert (shops.info, shops.columns["phone"].info) == ({"changed_at": "changed"}, {"phone": True})
    assert [column.name for column in shops.columns if column.computed is not None] == ["twice"]
    assert (key_columns(shops), key_columns(visits)) == (("id",), ())
    assert unique_keys(visits) == [("n",), ("day", "n")]


def test_the_whole_way(project: Path, databases: PostgresServer, fresh_database: str) -> None:
    """In a process as a user's is: standard output is the document alone."""
    (project / "app" / "models.py").write_text(
        "from sqlalchemy import Column, Integer, MetaData, Table\nprint('hello')\nBase = MetaData()\n"
        "Table('shops', Base, Column('id', Integer, primary_key=True))\n"
    )
    source = databases.create_database()
    try:
        for url in (source, fresh_database):
            execute(url, "CREATE TABLE shops (id integer PRIMARY KEY)")
        execute(source, "INSERT INTO shops VALUES (1), (2)")
        settings = {"DATABASE_URL": fresh_database, "MIGRATION_SOURCE": source}
        with start("migrate", "--json", "--metadata", "app.models:Base", directory=project, **settings) as process:
            out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert (json.loads(out)["ok"], err.startswith("hello\n")) == (True, True)
        assert query(fresh_database, "SELECT id FROM shops ORDER BY 1") == [(1,), (2,)]
    finally:
        databases.drop_database(source)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("import os\nos._exit(7)", "models ended Python while it was imported, with code 7"),
        ("import threading\nthreading.Event().wait()", "models was not imported within 1 s"),
        ("input('name? ')", "models cannot be imported: EOFError (models.py, line 1)"),
        ("class Base:\n    pass\n\n{}['key']", "models cannot be imported: KeyError (models.py, line 4)"),
    ],
)
def test_what_gives_no_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], content: str, told: str
) -> None:
    (tmp_path / "models.py").write_text(content)
    monkeypatch.chdir(tmp_path)
    if "wait" in content:
        monkeypatch.setattr(loading, "_PATIENCE", 1.0)
    with pytest.raises(SettingsError) as refused:
        load_metadata("models:Base")
    assert str(refused.value) == f"--metadata: {told}"
    assert "Traceback" not in capfd.readouterr().err


def test_ctrl_c_while_they_are_imported(tmp_path: Path) -> None:
    """A terminal sends it to both processes."""
    (tmp_path / "models.py").write_text("import threading\nprint('importing', flush=True)\nthreading.Event().wait()")
    url = "postgresql://someone@127.0.0.1:9/x"
    with subprocess.Popen(
        [BOTDATA, "copy", "--metadata", "models:Base"],
        cwd=tmp_path,
        env=os.environ | {"DATABASE_URL": url, "MIGRATION_SOURCE": url},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "importing\n"
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stderr.read()  # ends when neither process holds it any more
    assert (process.returncode, rest.startswith("\nStopped."), "Traceback" in rest) == (130, True, False)
