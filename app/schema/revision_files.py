"""Where the schema's revisions are, and their names by those of their files: importing Alembic takes long."""

from pathlib import Path


def scripts() -> Path:
    """The directory with `env.py` and the revisions: inside the installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "alembic"
    return installed if installed.is_dir() else package.parent / "alembic"


def known_revisions() -> list[str]:
    """All of them, the newest last."""
    return sorted(path.name.partition("_")[0] for path in (scripts() / "versions").glob("[0-9]*.py"))
