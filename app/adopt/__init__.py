"""Makes a project of models and revisions from a database, and proves that its revisions recreate that database."""
