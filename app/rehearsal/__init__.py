"""The whole move on a throw-away target, and what it takes to leave nothing of it behind."""
