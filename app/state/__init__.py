"""Schema `botdata` of the target, where the tool keeps what it must remember: every statement on it is here."""
