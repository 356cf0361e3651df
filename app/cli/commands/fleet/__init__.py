"""The commands `botdata fleet ...` and what they show."""
