"""`sync --reverse` where the source changes rows by itself, as foreign keys that cascade and triggers do."""

from sqlalchemy import Column, Integer, MetaData, Numeric, Table, Text

from app.migration.sync.sync_report import SyncReport
from app.migration.tables.metadata import select_tables
from tests.fixtures.sources import MakeSource, Source
from tests.migration.engine import copy_from, execute, query, verify_from
from tests.migration.two_ends import sync_from

METADATA = MetaData()
for _name, _columns in {"users": ("email",), "posts": ("author",), "categories": ("parent", "name")}.items():
    _typed = [Column(one, Integer if one in {"author", "parent"} else Text) for one in _columns]
    Table(_name, METADATA, Column("id", Integer, primary_key=True), *_typed)
Table("prices", METADATA, Column("price", Numeric, primary_key=True), Column("note", Text))
Table("audit", METADATA, Column("id", Integer, primary_key=True, autoincrement=True), Column("told", Text))

USERS = "CREATE TABLE users (id integer PRIMARY KEY, email text UNIQUE); "
POSTS = (
    "CREATE TABLE posts (id integer PRIMARY KEY, author integer REFERENCES users ON DELETE CASCADE, "
    "body text DEFAULT 'body'); "
)
ROWS = "INSERT INTO users VALUES (1, 'a'), (2, 'b'); INSERT INTO posts (id, author) VALUES (1, 1), (2, 2); "
TREE = (
    "CREATE TABLE categories (id integer PRIMARY KEY, parent integer REFERENCES categories ON DELETE CASCADE, "
    "name text, beside text); "
)


async def _back(source: Source, target: str, *names: str) -> SyncReport:
    chosen = select_tables(METADATA, names=names)
    return await sync_from(source, target, chosen, reverse=True, target_in_use=True, overwrite=True)


async def test_rows_that_hold_each_others_keys_are_not_deleted_where_others_go_with_them(
    make_source: MakeSource, fresh_database: str
) -> None:
    """Posts are not among the tables, so that nothing would bring them again."""
    source = make_source(USERS + POSTS + ROWS)
    execute(fresh_database, USERS + POSTS)
    assert (await copy_from(source, fresh_database, select_tables(METADATA, names=["users"]))).complete
    execute(
        fresh_database,
        "UPDATE users SET email = 'c' WHERE id = 1; UPDATE users SET email = 'a' WHERE id = 2; "
        "UPDATE users SET email = 'b' WHERE id = 1",
    )
    report = await _back(source, fresh_database, "users")
    assert not report.complete
    assert {(one.key, one.sqlstate) for one in report.tables["users"].refused} == {(("1",), "23505"), (("2",), "23505")}
    assert query(source.database_url, "SELECT count(*) FROM posts") == [(2,)]
    assert query(source.database_url, "SELECT email FROM users ORDER BY id") == [("a",), ("b",)]


async def test_rows_that_refer_to_another_one_now_do_not_go_with_the_old_one(
    make_source: MakeSource, fresh_database: str
) -> None:
    """Nor does what they hold beside the columns of the models."""
    rows = (
        "INSERT INTO categories VALUES (1, NULL, 'one', 'x'), (2, 1, 'two', 'y'), (3, 2, 'three', 'z'); "
        "INSERT INTO users VALUES (1, 'a'); INSERT INTO posts VALUES (1, 1, 'kept')"
    )
    source = make_source(TREE + USERS + POSTS + rows)
    execute(fresh_database, TREE + USERS + POSTS)
    names = ("users", "posts", "categories")
    assert (await copy_from(source, fresh_database, select_tables(METADATA, names=names))).complete
    execute(
        fresh_database,
        "UPDATE categories SET parent = NULL WHERE id = 2; DELETE FROM categories WHERE id = 1; "
        "INSERT INTO users VALUES (2, 'b'); UPDATE posts SET author = 2; DELETE FROM users WHERE id = 1",
    )
    assert (await _back(source, fresh_database, *names)).complete
    assert query(source.database_url, "SELECT * FROM categories ORDER BY id") == [
        (2, None, "two", "y"),
        (3, 2, "three", "z"),
    ]
    assert query(source.database_url, "SELECT * FROM users, posts") == [(2, "b", 1, 2, "kept")]
    assert (await verify_from(source, fresh_database, select_tables(METADATA, names=names))).clean


async def test_what_a_trigger_of_the_source_writes_is_put_right(make_source: MakeSource, fresh_database: str) -> None:
    tables = USERS + "CREATE TABLE audit (id serial PRIMARY KEY, told text); "
    source = make_source(
        tables + "INSERT INTO users VALUES (1, 'a'); CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO audit (told) VALUES (NEW.email); RETURN NULL; END $$; "
        "CREATE TRIGGER tell AFTER INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION tell()"
    )
    execute(fresh_database, tables)
    names = ("users", "audit")
    assert (await copy_from(source, fresh_database, select_tables(METADATA, names=names))).complete
    execute(fresh_database, "UPDATE users SET email = 'b'; INSERT INTO users VALUES (2, 'c')")
    assert (await _back(source, fresh_database, *names)).complete
    assert query(source.database_url, "SELECT count(*) FROM audit") == [(0,)]
    assert (await verify_from(source, fresh_database, select_tables(METADATA, names=names))).clean


async def test_a_key_with_another_text_takes_no_rows_with_it(make_source: MakeSource, fresh_database: str) -> None:
    """The row of the source is there under the key of before; bills are not among the tables."""
    schema = (
        "CREATE TABLE prices (price numeric PRIMARY KEY, note text); "
        "CREATE TABLE bills (price numeric REFERENCES prices ON DELETE CASCADE)"
    )
    source = make_source(f"{schema}; INSERT INTO prices VALUES (1.0, 'one'); INSERT INTO bills VALUES (1.0)")
    execute(fresh_database, schema)
    assert (await copy_from(source, fresh_database, select_tables(METADATA, names=["prices"]))).complete
    execute(fresh_database, "UPDATE prices SET price = 1.00, note = 'two'")
    report = await _back(source, fresh_database, "prices")
    assert query(source.database_url, "SELECT price::text, note FROM prices")[0][1] == "two"
    assert query(source.database_url, "SELECT count(*) FROM bills") == [(1,)]
    same = query(source.database_url, "SELECT price::text FROM prices") == [("1.00",)]
    assert report.complete == same
