"""The history of the schema, run by Alembic from `Database.migrate`."""
