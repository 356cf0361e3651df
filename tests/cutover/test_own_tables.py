"""Tables that no method writes: which of them the methods read is known, since only those are bound to the stage."""

from __future__ import annotations

from app import repositories
from app.cutover.tables import METHODS_TABLES, READ_TABLES
from app.repositories.base import Repository


def test_the_tables_that_the_methods_read_are_those_of_the_repositories() -> None:
    read = {
        found.model.__tablename__
        for found in vars(repositories).values()
        if isinstance(found, type) and issubclass(found, Repository)
    }
    assert read == METHODS_TABLES | READ_TABLES
    assert not METHODS_TABLES & READ_TABLES
