"""The migrations make the schema that the code declares, and take it away again."""

import ast
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from service.store.bootstrap import migrate
from service.store.tables.base import Base
from tests.databases import Database

pytestmark = pytest.mark.integration

MIGRATIONS = Path(__file__).parents[2] / "migrations"


def differences(owner: Engine) -> list:
    with owner.connect() as connection:
        return compare_metadata(MigrationContext.configure(connection), Base.metadata)


def test_the_revisions_are_one_line() -> None:
    assert len(ScriptDirectory(str(MIGRATIONS)).get_heads()) == 1


@pytest.mark.parametrize("path", sorted(MIGRATIONS.glob("versions/*.py")), ids=lambda path: path.stem)
def test_a_revision_imports_no_application_code(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    imported = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module or "." for node in nodes if isinstance(node, ast.ImportFrom)}
    assert "alembic" in imported
    assert {name.partition(".")[0] for name in imported} <= {"alembic", "sqlalchemy", "collections"}


def test_the_migrated_schema_is_the_declared_one(committed_db: Database) -> None:
    assert differences(committed_db.engine("owner")) == []


def test_what_was_taken_down_comes_up_the_same(committed_db: Database) -> None:
    owner = committed_db.engine("owner")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with owner.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    left = text(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        " UNION ALL SELECT proname FROM pg_proc JOIN pg_roles r ON r.oid = proowner"
        " WHERE pronamespace = 'public'::regnamespace AND rolname = 'enteron_owner'"
    )
    with owner.connect() as connection:
        assert set(connection.execute(left).scalars()) == {"alembic_version"}
    migrate(owner)
    assert differences(owner) == []
