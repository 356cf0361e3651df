"""Writes the files of an adopted project, and never over what a person changed."""

import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from app.adopt.scope import NOTHING_WRITTEN, STEP, Role
from app.errors import MigrationError
from app.next_step import Command, NextStep

PACKAGE = "models"
_MANIFEST = "adopt.json"
REVISIONS = Path("alembic/versions")


def template(file: str, /, **values: str) -> str:
    """A file of the project, from its template."""
    text = files("app.adopt").joinpath("templates", f"{file}.template").read_text("utf-8")
    return Template(text).substitute(values) if values else text


def project_files(directory: Path, schemas: Sequence[str], tables: int, notes: Sequence[str]) -> dict[str, str]:
    """The files around models and revisions."""
    name = re.sub(r"[^a-z0-9]+", "-", directory.resolve().name.lower()).strip("-") or "project"
    listed = json.dumps(list(schemas), ensure_ascii=False)
    told = "\n## To look at\n\n" + "\n".join(f"- {note}" for note in notes) + "\n" if notes else ""
    return {
        "pyproject.toml": template("pyproject.toml", name=name, package=PACKAGE, schemas=listed),
        "alembic.ini": template("alembic.ini"),
        "alembic/env.py": template("env.py", package=PACKAGE, schemas=listed),
        "alembic/script.py.mako": template("script.py.mako"),
        ".env.example": template("env.example"),
        "README.md": template(
            "README.md", name=name, package=PACKAGE, tables=str(tables), schemas=", ".join(schemas), notes=told
        ),
        f"{PACKAGE}/base.py": template("base.py"),
        f"{PACKAGE}/py.typed": "",
    }


def revision_files(
    number: int, title: str, slug: str, statements: str, roles: Sequence[Role], values: Sequence[str] = ()
) -> dict[str, str]:
    """A revision: its statements as they are, and the module that carries them out.

    Args:
        values: statements that add values to enums.
    """
    made = {role.name: role.statement for role in roles}
    before = json.dumps(f"{number - 1:04}") if number > 1 else "None"
    script = template(
        "revision.py",
        title=title,
        revision=f"{number:04}",
        before=before,
        roles=json.dumps(made, ensure_ascii=False),
        values=json.dumps(list(values), ensure_ascii=False),
    )
    return {
        str(REVISIONS / f"{number:04}_{slug}.sql"): statements,
        str(REVISIONS / f"{number:04}_{slug}.py"): script,
    }


def last_revision(directory: Path) -> int:
    """The number of the newest revision in the project; 0 where it has none."""
    numbers = [re.match(r"(\d{4})_", path.name) for path in (directory / REVISIONS).glob("*.py")]
    return max((int(number[1]) for number in numbers if number), default=0)


def refuse_other_directory(directory: Path) -> None:
    """Refuse a directory that holds files which no `adopt` wrote."""
    try:
        strange = directory.exists() and not (directory / _MANIFEST).exists() and any(directory.iterdir())
    except OSError as error:
        raise _unwritable(directory, error) from error
    if strange:
        raise MigrationError(
            f"{directory} holds files that no adopt wrote",
            step=STEP,
            pending=NOTHING_WRITTEN,
            next_step=NextStep(Command(STEP), " with an empty directory, or a new one"),
        )


def remembered(directory: Path) -> dict[str, Any]:
    """What the last `adopt` was told to take along; empty for a new project."""
    try:
        return dict(json.loads((directory / _MANIFEST).read_text("utf-8"))["options"])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError) as error:
        raise MigrationError(
            f"{directory / _MANIFEST} is not as adopt wrote it",
            step=STEP,
            pending=NOTHING_WRITTEN,
            next_step=NextStep("take it from a backup, or adopt into a new directory: ", Command(STEP)),
        ) from error


def write_project(directory: Path, contents: Mapping[str, str], options: Mapping[str, Any]) -> list[str]:
    """Write the files. What a person changed since an earlier `adopt` stays, and the new text goes beside it.

    Args:
        options: what a later `adopt` is to take along, too.

    Returns:
        names of the files that were written beside a changed one, as `NAME.new`.

    Raises:
        MigrationError: the directory cannot be written to.
    """
    beside = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        earlier = _manifest(directory)
        written: dict[str, str] = dict(earlier.get("files", {}))
        begun: dict[str, str] = earlier.get("begun", {})
        unfinished = [name for name in contents if Path(name).parent == REVISIONS]
        # First of all, so that the same command goes on where it was stopped.
        hashes = {name: _hash(text) for name, text in contents.items()}
        manifest = {"options": options, "files": written, "begun": hashes, "unfinished": unfinished}
        _write(directory / _MANIFEST, json.dumps(manifest))
        for name, text in contents.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            present = sha256(path.read_bytes()).hexdigest() if path.exists() else None
            if present is not None and present not in {written.get(name), begun.get(name), hashes[name]}:
                path = path.with_name(f"{path.name}.new")
                beside.append(f"{name}.new")
            else:
                written[name] = hashes[name]
            _write(path, text)
        _write_manifest(directory, {"options": options, "files": written, "unfinished": unfinished})
    except OSError as error:
        raise _unwritable(directory, error) from error
    return beside


def finish(directory: Path) -> None:
    """Note that the newest revision can be run, or that no server could tell: it stays."""
    _write_manifest(directory, _manifest(directory) | {"unfinished": []})


def take_back_unfinished(directory: Path) -> None:
    """Remove the revision of an earlier `adopt` that was stopped, or whose revision could not be run: it is made anew.

    One that a person changed since stays.
    """
    manifest = _manifest(directory)
    for name in manifest.get("unfinished", []):
        path = directory / name
        wanted = {manifest[part].get(name) for part in ("files", "begun") if part in manifest}
        if path.exists() and sha256(path.read_bytes()).hexdigest() in wanted:
            path.unlink()


def _manifest(directory: Path) -> dict[str, Any]:
    path = directory / _MANIFEST
    return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}


def _write_manifest(directory: Path, manifest: Mapping[str, Any]) -> None:
    _write(directory / _MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


def _write(path: Path, text: str) -> None:
    """All of it, or nothing; line ends stay as they are."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(text.encode())
    part.replace(path)


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _unwritable(directory: Path, error: OSError) -> MigrationError:
    return MigrationError(
        f"{directory} cannot be written: {error.strerror}",
        step=STEP,
        pending="the rest of the project's files",
        next_step=NextStep(Command(STEP), " with a directory that you may write to"),
    )
