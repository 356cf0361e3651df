"""The source of a change stream: what it has to have, what is made there, and what it sends."""
