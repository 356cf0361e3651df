"""Settings: the environment before `.env`, clear words only, and no secret in a message."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.errors import SettingsError
from app.settings import Settings, load_settings

FLAGS = ("USE_REPOSITORY_PATTERN", "USE_LEGACY_SUPABASE", "LOG_DATABASE_CALLS", "VALIDATE_INPUT")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
        monkeypatch.delenv(field, raising=False)


def test_defaults() -> None:
    settings = load_settings(None)
    assert (settings.use_repository_pattern, settings.use_legacy_supabase, settings.log_database_calls) == (
        False,
        True,
        False,
    )
    assert (settings.supabase_url, settings.supabase_key, settings.database_url) == (None, None, None)
    assert (settings.default_limit, settings.max_limit, settings.default_timezone) == (100, 1000, "Europe/Moscow")


def test_the_environment_comes_before_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("SUPABASE_URL=https://file.example\nMAX_LIMIT=7\nOTHER_PROGRAM=yes\nUSE_REPOSITORY_PATTERN=on\n")
    monkeypatch.setenv("SUPABASE_URL", "https://environment.example")
    settings = load_settings(file)
    assert (settings.supabase_url, settings.max_limit, settings.use_repository_pattern) == (
        "https://environment.example",
        7,
        True,
    )


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        *((word, True) for word in ("true", "TRUE", " Yes ", "1", "on")),
        *((word, False) for word in ("false", "False", "no", "0", " OFF")),
    ],
)
@pytest.mark.parametrize("flag", ["USE_REPOSITORY_PATTERN", "LOG_DATABASE_CALLS", "VALIDATE_INPUT"])
def test_a_clear_yes_or_no(monkeypatch: pytest.MonkeyPatch, flag: str, word: str, meaning: bool) -> None:
    monkeypatch.setenv(flag, word)
    assert getattr(load_settings(None), flag.lower()) is meaning


@pytest.mark.parametrize("word", ["maybe", "2", "y", "t", "tru", "да", "truefalse", "", "null", "-1", "1.0"])
@pytest.mark.parametrize("flag", FLAGS)
def test_anything_else_is_an_error_that_names_variable_and_value(
    monkeypatch: pytest.MonkeyPatch, flag: str, word: str
) -> None:
    monkeypatch.setenv(flag, word)
    with pytest.raises(SettingsError) as refused:
        load_settings(None)
    assert str(refused.value) == (
        f"{flag} is {word!r}: it must be a clear yes (true, 1, yes, on) or no (false, 0, no, off)"
    )


@pytest.mark.parametrize(
    ("word", "stage"),
    [("live", "live"), (" Shadow ", "shadow"), ("DATABASE", "database"), ("", None), ("  ", None)],
)
def test_a_stage_is_taken_in_any_spelling(monkeypatch: pytest.MonkeyPatch, word: str, stage: str | None) -> None:
    monkeypatch.setenv("CUTOVER_STAGE", word)
    settings = load_settings(None)
    assert settings.cutover_stage == stage
    assert settings.flags.names_a_stage == (stage is not None)


@pytest.mark.parametrize("word", ["postgres", "true", "live!", "none", "0"])
def test_anything_else_is_no_stage(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("CUTOVER_STAGE", word)
    with pytest.raises(SettingsError) as refused:
        load_settings(None)
    assert str(refused.value) == (
        f"CUTOVER_STAGE is {word!r}: it must be one of off, dualwrite, shadow, live, rampdown, complete, database"
    )


def test_two_settings_that_contradict_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTOVER_STAGE", "live")
    assert load_settings(None).flags.use_repository_pattern  # the other one is not set
    monkeypatch.setenv("USE_REPOSITORY_PATTERN", "false")
    with pytest.raises(SettingsError, match="CUTOVER_STAGE=live has PostgreSQL for authority, and USE_REPOSITORY"):
        load_settings(None)


def test_no_backend_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USE_LEGACY_SUPABASE", "false")
    with pytest.raises(SettingsError, match="USE_LEGACY_SUPABASE is false and USE_REPOSITORY_PATTERN is not true"):
        load_settings(None)
    monkeypatch.setenv("USE_REPOSITORY_PATTERN", "true")
    settings = load_settings(None)
    assert settings.flags.use_legacy_supabase is False
    with pytest.raises(SettingsError, match="no connection to Supabase may be opened"):
        settings.require_supabase()


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("DATABASE_POOL_SIZE", "0"),
        ("DATABASE_POOL_SIZE", "many"),
        ("QUERY_TIMEOUT", "-1"),
        ("QUERY_TIMEOUT", "inf"),
        ("HEALTH_CHECK_TIMEOUT", "nan"),
        ("LOCK_TIMEOUT", "0"),
        ("STATEMENT_TIMEOUT", "Infinity"),
        ("MAX_LIMIT", "1.5"),
        ("CUTOVER_HOLD", "0"),
        ("CUTOVER_HOLD", "61"),
        ("CUTOVER_ID_GAP", "0"),
        ("MIRROR_WAIT", "-0.1"),
        ("MIRROR_CONNECTIONS", "2"),
        ("NOTE_TIMEOUT", "inf"),
        ("COMPARE_SAMPLING", "1.01"),
        ("CLOSE_TIMEOUT", "soon"),
        ("NOTIFY_SILENCE", "1"),
        ("NOTIFY_LAG", "0"),
        ("DEFAULT_PHONE_REGION", "ru"),
    ],
)
def test_a_number_out_of_range(monkeypatch: pytest.MonkeyPatch, variable: str, text: str) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(SettingsError, match=f"^{variable}: "):
        load_settings(None)


@pytest.mark.parametrize(
    ("address", "fits"),
    [
        ("https://hooks.example/secret-path", True),
        (" ", True),
        ("http://localhost:8080/secret-path", True),
        ("http://127.0.0.1/secret-path", True),
        ("http://[::1]:8080/secret-path", True),
        ("http://hooks.example/secret-path", False),
        ("http://localhost.secret-path.example/", False),
        ("http://127.0.0.1.secret-path.example/", False),
        ("https://user:secret-path@hooks.example/", False),
        ("https:///secret-path", False),
        ("https://[secret-path]/", False),
        ("https://hooks.example:secret-path/", False),
        ("https://hooks.example/secret-path\r\nHost: other", False),
        ("file:///etc/secret-path", False),
        ("secret-path", False),
    ],
)
def test_the_address_of_a_webhook(monkeypatch: pytest.MonkeyPatch, address: str, fits: bool) -> None:
    monkeypatch.setenv("NOTIFY_URL", address)
    if fits:
        assert "secret-path" not in repr(load_settings(None))
        return
    with pytest.raises(SettingsError) as refused:
        load_settings(None)
    assert str(refused.value).startswith("NOTIFY_URL: must be https://..., or http:// to localhost")
    assert "secret-path" not in str(refused.value)


@pytest.mark.parametrize("command", ["tell 'secret-word", "'' secret-word"])
def test_a_command_that_is_none(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("NOTIFY_COMMAND", command)
    with pytest.raises(SettingsError, match=r"^NOTIFY_COMMAND: must be") as refused:
        load_settings(None)
    assert "secret-word" not in str(refused.value)


def test_all_problems_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_LIMIT", "0")
    monkeypatch.setenv("LOG_DATABASE_CALLS", "perhaps")
    with pytest.raises(SettingsError) as refused:
        load_settings(None)
    assert "MAX_LIMIT: " in str(refused.value)
    assert "LOG_DATABASE_CALLS is 'perhaps'" in str(refused.value)


@pytest.mark.parametrize("blank", ["", "  "])
def test_what_is_required_when_it_is_needed(monkeypatch: pytest.MonkeyPatch, blank: str) -> None:
    monkeypatch.setenv("DATABASE_URL", blank)
    monkeypatch.setenv("SUPABASE_URL", "https://p.example")
    monkeypatch.setenv("SUPABASE_KEY", blank)
    settings = load_settings(None)
    with pytest.raises(SettingsError, match="DATABASE_URL is not set"):
        settings.require_database_url()
    with pytest.raises(SettingsError, match="SUPABASE_KEY is not set"):
        settings.require_supabase()


def test_all_that_is_not_set_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings(None).require_stores()
    assert str(raised.value).startswith("DATABASE_URL, SUPABASE_URL and SUPABASE_KEY are not set; put them into")
    for example in ("DATABASE_URL=postgresql://", "SUPABASE_URL=https://", "SUPABASE_KEY=sb_secret_"):
        assert example in str(raised.value)
    with pytest.raises(SettingsError, match="SUPABASE_URL and SUPABASE_KEY are not set;"):
        load_settings(None).require_supabase()


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_KEY", "sb_secret_0123")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:swordfish@h/d")
    settings = load_settings(None)
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert "sb_secret_0123" not in text
        assert "swordfish" not in text
    assert settings.require_database_url() == "postgresql://u:swordfish@h/d"


def test_frozen() -> None:
    settings = load_settings(None)
    with pytest.raises(ValidationError):
        settings.max_limit = 5  # type: ignore[misc]


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"SUPABASE_URL=\xff\xfe\n")
    with pytest.raises(SettingsError, match="is not a UTF-8 text file"):
        load_settings(file)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.symlink_to("/proc/self/mem")  # read errors that a superuser gets too
    with pytest.raises(SettingsError, match=r"\.env cannot be read: "):
        load_settings(file)


def test_a_directory_in_place_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.mkdir()
    with pytest.raises(SettingsError, match=r"\.env cannot be read: it is a directory"):
        load_settings(file)
    assert load_settings(tmp_path / "none").max_limit == 1000


@pytest.mark.parametrize(
    ("schema", "address", "meant"),
    [
        (None, "postgresql://u:p%2Fw@h/d", "postgresql://u:p%2Fw@h/d"),
        ("public", "postgresql://u@h/d", "postgresql://u@h/d"),
        ("t1", "postgresql://u:p%2Fw@h/d?sslmode=require", "postgresql://u:p%2Fw@h/d?sslmode=require&schema=t1"),
        ("t1", "postgresql://u:p?w@h1:1,h2:2/d", "postgresql://u:p?w@h1:1,h2:2/d?schema=t1"),
        ("t1", "postgresql://u@h/d?schema=t1", "postgresql://u@h/d?schema=t1"),
        (" ", "postgresql://u@h/d?schema=t1", "postgresql://u@h/d?schema=t1"),
    ],
)
def test_the_schema_is_in_the_address(
    monkeypatch: pytest.MonkeyPatch, schema: str | None, address: str, meant: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", address)
    if schema is not None:
        monkeypatch.setenv("DATABASE_SCHEMA", schema)
    assert load_settings(None).require_database_url() == meant


@pytest.mark.parametrize(
    ("schema", "address", "told"),
    [
        ("a" * 56, "postgresql://u@h/d", "longer than 55"),
        ("T1", "postgresql://u@h/d", "small letters"),
        ("1t", "postgresql://u@h/d", "small letters"),
        ("t1; DROP", "postgresql://u@h/d", "small letters"),
        *((name, "postgresql://u@h/d", "name of a schema of") for name in ("pg_x", "botdata", "t1_botdata", "auth")),
        ("t1", "postgresql://u@h/d?schema=t2", "name two schemas"),
        ("t1", "postgresql://u@h/d?schema=public", "name two schemas"),
        (None, "postgresql://u@h/d?schema=vault", "name of a schema of"),
    ],
)
def test_a_schema_that_is_none(monkeypatch: pytest.MonkeyPatch, schema: str | None, address: str, told: str) -> None:
    monkeypatch.setenv("DATABASE_URL", address)
    if schema is not None:
        monkeypatch.setenv("DATABASE_SCHEMA", schema)
    with pytest.raises(SettingsError, match=told):
        load_settings(None).require_database_url()


def test_the_address_of_standbys_means_the_same_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@h/d?schema=t1")
    monkeypatch.setenv("DATABASE_READ_URL", "postgresql://u@h2,h3/d?connect_timeout=3")
    assert load_settings(None).read_url() == "postgresql://u@h2,h3/d?connect_timeout=3&schema=t1"
