"""Where the fixtures are."""

pytest_plugins = [
    f"tests.fixtures.{name}"
    for name in (
        "servers", "sources", "cutover", "contract", "command", "schema", "data_layer", "embedded", "repositories",
        "poolers", "foreign_move",
    )
]  # fmt: skip
