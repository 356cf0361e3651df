"""PostgreSQL: addresses, the pool of the bot, sessions of the commands."""
