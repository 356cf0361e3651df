"""The bot's own schema in a target: where it stands, the earlier one that is recognised, and replacing it."""
