"""What the commands that move rows remember of themselves, by table of the schema."""
