"""Loading pages into the target: statements, refused rows found and set aside, and whether a table may be written."""
