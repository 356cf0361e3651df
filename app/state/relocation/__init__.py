"""What a move from one server to another leaves in the tool's tables, and takes out of them."""
