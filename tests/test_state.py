"""Schema `botdata` has one owner: SQL on its tables stands in app/state, and no statement has its name.

Statements say it as `app.common.schemas` does, since it has another name beside each schema of the data.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.state.schema_name import SCHEMA
from app.state.versions import VERSIONS

APP = Path(__file__).parent.parent / "app"
TABLES = "|".join(sorted({"version", *re.findall(rf"CREATE TABLE {SCHEMA}\.(\w+)", "".join(VERSIONS))}))
_SPOKEN = rf"(?:\bbotdata|{SCHEMA}|\{{(?:SCHEMA|TOOL)\}})"
_TABLE = re.compile(rf"{_SPOKEN}\.(?:(?:{TABLES})\b|\{{)")
_WORD = re.compile(r"\b(?:SELECT|FROM|JOIN|INSERT|UPDATE|DELETE|TRUNCATE|LOCK|CREATE|ALTER|DROP)\b|::\s*regclass")
_NAME = re.compile(rf"\bnspname\s*(?:=|<>|IN)\s*\(?'{_SPOKEN}'|\bto_reg\w+\('{_SPOKEN}")


def _texts(file: Path) -> Iterator[str]:
    """The strings of a module; an f-string as one text, with the names of what is put into it in braces."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    parts = {id(value) for node in nodes if isinstance(node, ast.JoinedStr) for value in node.values}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield "".join(map(_part, node.values))
        elif isinstance(node, ast.Constant) and id(node) not in parts:
            yield _part(node)


def _part(node: ast.expr) -> str:
    if isinstance(node, ast.FormattedValue):
        return f"{{{ast.unparse(node.value)}}}"
    assert isinstance(node, ast.Constant)
    return node.value.decode(errors="replace") if isinstance(node.value, bytes) else str(node.value)


def _has_sql_on_the_schema(file: Path) -> bool:
    return any((_TABLE.search(text) and _WORD.search(text)) or _NAME.search(text) for text in _texts(file))


def test_sql_on_the_tool_s_schema_stands_in_app_state() -> None:
    files = sorted(set(APP.rglob("*.py")) - set((APP / "state").rglob("*.py")))
    assert [str(file.relative_to(APP)) for file in files if _has_sql_on_the_schema(file)] == []


@pytest.mark.parametrize(
    "source",
    [
        '"SELECT stage FROM botdata.stage"',
        'b"DELETE FROM botdata.outbox"',
        'f"SELECT {columns} FROM others, botdata.notes WHERE {condition}"',
        "f\"UPDATE {SCHEMA}.moves SET state = 'done'\"",
        'f"""SELECT id\nFROM {SCHEMA}.{table}"""',
        "\"SELECT FROM pg_namespace WHERE nspname = 'botdata'\"",
        "\"l.relation = 'botdata.stage'::regclass\"",
        "\"SELECT to_regclass('botdata.runs')\"",
    ],
)
def test_what_is_sql_on_the_schema(tmp_path: Path, source: str) -> None:
    file = tmp_path / "module.py"
    prose = '"""The table `botdata.stage`; run botdata sync."""\nlog("old rows of botdata.differences")\n'
    file.write_text(prose)
    assert not _has_sql_on_the_schema(file)
    file.write_text(f"{prose}execute({source})\n")
    assert _has_sql_on_the_schema(file)


def test_no_statement_has_the_schema_s_name() -> None:
    written = re.compile(rf"^botdata$|\bbotdata\.(?:{TABLES})\b|'botdata'")
    files = sorted((APP / "state").rglob("*.py"))
    assert [file.name for file in files if any(map(written.search, _texts(file)))] == []


# Commands that are refused for another schema (app.cli.project), and what tells `public` from other schemas.
_OF_PUBLIC = (
    "adopt/", "embedded/", "migration/inventory/", "schema/backup", "schema/ddl", "schema/plan", "schema/replace",
    "migration/preflight/schemas/catalog", "migration/preflight/surroundings", "migration/target/sequences",
    "state/versions",
)  # fmt: skip


def test_no_statement_names_the_schema_of_the_data() -> None:
    written = re.compile(r"'public'|\bpublic\.\w+|\"public\"")
    found = {
        str(file.relative_to(APP).with_suffix(""))
        for file in APP.rglob("*.py")
        for text in _texts(file)
        if _WORD.search(text) and written.search(text)
    }
    assert {name for name in found if not name.startswith(_OF_PUBLIC)} == set()
