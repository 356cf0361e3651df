"""The command `botdata watch`: the page, the terminal, and one look as a document."""
