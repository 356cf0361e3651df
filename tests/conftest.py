"""Where the fixtures are."""

_MODULES = (
    "suite", "servers", "streaming", "sources", "cutover", "contract", "command", "schema", "data_layer", "embedded",
    "repositories", "poolers", "foreign_move", "projects", "browser", "notify", "streams", "gates",
)  # fmt: skip
pytest_plugins = [f"tests.fixtures.{name}" for name in _MODULES]
