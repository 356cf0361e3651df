"""Generated pairs of databases, moved by the commands and compared by an oracle that shares no code with them."""
