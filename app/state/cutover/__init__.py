"""Tables of schema `botdata` that a cutover goes by, each with the statements on it."""
