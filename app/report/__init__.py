"""What `botdata report` shows to people who were not there, and how it is checked later."""
