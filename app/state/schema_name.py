"""The name of the tool's own schema in the target. Every statement of this package has it from here."""

SCHEMA = "botdata"
