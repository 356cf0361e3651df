"""`--metadata`: what cannot be used is an error in words, and quotes nothing of the other project's."""

from pathlib import Path

import pytest

from tests.cli.command import Command

URL = "postgresql://someone:password-of-the-database@127.0.0.1:9/x"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("nothing", "", "it should look like package.module:Base"),
        ("no_such_module:Base", "", "no_such_module cannot be imported: ModuleNotFoundError"),
        ("raising_module:Base", f"raise ValueError('{URL}')", "raising_module cannot be imported: ValueError"),
        ("leaving_module:Base", "raise SystemExit(0)", "leaving_module cannot be imported: SystemExit"),
        ("broken_module:Base", "class", "broken_module cannot be imported: SyntaxError"),
        ("empty_module:Base", "", "the module empty_module has no Base"),
        (
            "bare_module:Base",
            "from sqlalchemy import MetaData\nBase = MetaData()",
            "bare_module:Base holds no table: name a module that imports the models",
        ),
        ("other_module:Base", "Base = 1", "other_module:Base is neither a declarative base nor a MetaData"),
    ],
)
def test_what_is_no_metadata(command: Command, tmp_path: Path, name: str, content: str, told: str) -> None:
    if not name.startswith("no_such"):
        (tmp_path / f"{name.partition(':')[0]}.py").write_text(content)
    outcome = command("copy", "--metadata", name, DATABASE_URL=URL, MIGRATION_SOURCE=URL)
    assert (outcome.code, told in outcome.err) == (1, True)
