"""Two tables whose triggers, rules and foreign keys are silent while the program writes to them."""

from sqlalchemy import Column, Integer, MetaData, Table, Text

from app.migration.tables.metadata import select_tables

METADATA = MetaData()
Table("users", METADATA, Column("id", Integer, primary_key=True), Column("name", Text))
Table("posts", METADATA, Column("id", Integer, primary_key=True), Column("author", Integer), Column("body", Text))
CHOSEN = select_tables(METADATA)
TABLES = """
CREATE TABLE users (id integer PRIMARY KEY, name text);
CREATE TABLE posts (id integer PRIMARY KEY, author integer, body text);
"""
ROWS = (
    "INSERT INTO users SELECT n, 'name' FROM generate_series(1, 9) n; INSERT INTO posts SELECT id, id, 'b' FROM users;"
)
KEY = "ALTER TABLE posts ADD CONSTRAINT posts_author FOREIGN KEY (author) REFERENCES users ON DELETE CASCADE;"
# One writes elsewhere, one changes rows and one keeps them.
TRIGGERS = """
CREATE TABLE profiles (id integer);
CREATE FUNCTION handle_new_user() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN INSERT INTO profiles VALUES (new.id); RETURN new; END';
CREATE TRIGGER on_user_created AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION handle_new_user();
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN new.body := ''touched''; RETURN new; END';
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON posts FOR EACH ROW EXECUTE FUNCTION touch();
CREATE RULE keep AS ON DELETE TO posts DO INSTEAD NOTHING;
"""
TARGET = TABLES + KEY + TRIGGERS
STATES = "SELECT name, state FROM botdata.foreign_keys ORDER BY 1"
