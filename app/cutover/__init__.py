"""The cutover: what a process of the bot does at each stage, and the moves between the stages."""
