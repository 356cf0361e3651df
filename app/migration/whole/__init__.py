"""Tables whose rows nothing tells apart: moved and compared as a whole, by how often each row occurs."""
