"""Bringing one side to the state of the other while the bot goes on."""
