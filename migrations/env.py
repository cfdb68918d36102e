"""Alembic's entry: migrates as the owner role. Called by `enteron migrate` and `make`-free tests alike."""

from alembic import context
from sqlalchemy import Connection

from service.store.tables import access, analyses, datasets, files, jobs, registry  # noqa: F401 - fill the metadata
from service.store.tables.base import Base


def migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata, compare_server_default=False)
    with context.begin_transaction():
        context.run_migrations()


migrate(context.config.attributes["connection"])
