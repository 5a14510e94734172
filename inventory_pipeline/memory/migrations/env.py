"""Alembic's entry: one transaction, one migrating process at a time."""

from alembic import context
from sqlalchemy import Connection, text

# Any constant will do; it only has to be ours.
MIGRATION_LOCK = 7_301_001


def run(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": MIGRATION_LOCK})
    connection.execute(text("CREATE SCHEMA IF NOT EXISTS hub"))
    connection.commit()
    context.configure(
        connection=connection, version_table="schema_version", version_table_schema="hub"
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
    connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": MIGRATION_LOCK})
    connection.commit()


run(context.config.attributes["connection"])
