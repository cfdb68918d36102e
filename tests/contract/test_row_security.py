"""Row-level security in raw SQL: every table of the catalogue, whatever it is called tomorrow."""

from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service.store.session import unit_of_work
from tests.contract.test_access import make_things

# Tables that hold no tenant's rows.
OPEN = {"alembic_version", "tenant", "worker"}
NOT_GRANTED = "42501"
ROLES = ("api", "worker", "dispatcher", "auditor")
# What serves every tenant reads these across them; their rows hold no patient's data.
OPENINGS = {
    ("worker", "job"),
    ("dispatcher", "job"),
    ("api", "api_key"),
    ("auditor", "audit_event"),
    ("auditor", "job_event"),
}


@pytest.fixture(scope="module")
def tenants(api):
    things = make_things(api, api.database.new_tenant())
    return things.tenant_id, api.database.new_tenant()


def tables(api) -> list[str]:
    with api.database.engine("owner").connect() as connection:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        return list(connection.execute(text(query)).scalars())


def tenant_tables(api) -> list[str]:
    return [name for name in tables(api) if name not in OPEN]


def test_every_tenants_table_forces_row_security_and_has_policies(api):
    query = text(
        "SELECT relname, relrowsecurity AND relforcerowsecurity AS forced,"
        " (SELECT count(*) FROM pg_policy"
        "  WHERE polrelid = c.oid AND polname IN ('owner', 'tenant')) AS policies"
        " FROM pg_class c WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    )
    with api.database.engine("owner").connect() as connection:
        found = {row.relname: (row.forced, row.policies) for row in connection.execute(query)}
    assert {name: found[name] for name in tenant_tables(api)} == dict.fromkeys(tenant_tables(api), (True, 2))


def test_what_runs_as_the_owner_looks_into_temporary_tables_last(api):
    """Unless it is named, the schema of temporary tables is searched before all others."""
    query = text(
        "SELECT proname, proconfig FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace"
    )
    with api.database.engine("owner").connect() as connection:
        found = {row.proname: tuple(row.proconfig) for row in connection.execute(query)}
    assert {"job_history", "orphaned_objects", "forget_answers"} <= set(found)
    assert set(found.values()) == {("search_path=public, pg_temp",)}


def test_open_tables_have_no_tenant_column(api):
    query = text("SELECT table_name FROM information_schema.columns WHERE column_name = 'tenant_id'")
    with api.database.engine("owner").connect() as connection:
        with_tenant = set(connection.execute(query).scalars())
    assert with_tenant == set(tenant_tables(api))


def attempt(api, role: str, statement: str, *, tenant_id=None, **values) -> str | int:
    """What a statement did: rows changed or counted, or the SQLSTATE of its refusal."""
    try:
        with unit_of_work(api.database.engine(role), tenant_id=tenant_id) as session:
            done = session.execute(text(statement), values)
            return done.scalar_one() if done.returns_rows else done.rowcount
    except DBAPIError as refused:
        return refused.orig.sqlstate


def closed_tables(api, role: str) -> list[str]:
    return [table for table in tenant_tables(api) if (role, table) not in OPENINGS]


@pytest.mark.parametrize("role", ROLES)
def test_no_role_reads_another_tenants_rows(api, tenants, role):
    theirs, mine = tenants
    seen = {
        table: attempt(
            api,
            role,
            f"SELECT count(*) FROM {table} WHERE tenant_id = :theirs",
            tenant_id=mine,
            theirs=theirs,
        )
        for table in closed_tables(api, role)
    }
    assert set(seen.values()) <= {0, NOT_GRANTED}, seen


def test_the_test_above_has_something_to_miss(api, tenants):
    theirs, _ = tenants
    with unit_of_work(api.database.engine("api"), tenant_id=theirs) as session:
        counts = {
            table: session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
            for table in ("analysis", "finding", "file", "job", "model", "dataset", "prediction")
        }
    assert all(counts.values()), counts


@pytest.mark.parametrize("role", ROLES)
def test_without_a_tenant_a_read_fails_or_finds_nothing(api, tenants, role):
    seen = {table: attempt(api, role, f"SELECT count(*) FROM {table}") for table in closed_tables(api, role)}
    # A parameter that was never set, or is an empty text after an earlier transaction: closed both ways.
    assert set(seen.values()) <= {0, NOT_GRANTED, "42704", "22P02"}, seen


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "statement",
    ["UPDATE {} SET tenant_id = :mine WHERE tenant_id = :theirs", "DELETE FROM {} WHERE tenant_id = :theirs"],
)
def test_no_role_writes_rows_of_another_tenant(api, tenants, role, statement):
    theirs, mine = tenants
    done = {
        table: attempt(api, role, statement.format(table), tenant_id=mine, mine=mine, theirs=theirs)
        for table in closed_tables(api, role)
    }
    assert set(done.values()) <= {0, NOT_GRANTED}, done


def test_inserting_for_another_tenant_is_refused(api, tenants):
    theirs, mine = tenants
    statement = text("INSERT INTO principal (id, tenant_id, name) VALUES (:id, :theirs, 'x')")
    with (
        pytest.raises(DBAPIError) as refused,
        unit_of_work(api.database.engine("api"), tenant_id=mine) as session,
    ):
        session.execute(statement, {"id": uuid4(), "theirs": theirs})
    assert refused.value.orig.sqlstate == NOT_GRANTED


@pytest.mark.parametrize(
    "table", ["audit_event", "file", "finding", "job_event", "model_version", "promotion"]
)
def test_history_cannot_be_changed_even_by_the_owner(api, tenants, table):
    for statement in (f"UPDATE {table} SET tenant_id = tenant_id", f"DELETE FROM {table}"):
        with pytest.raises(DBAPIError), api.database.engine("owner").begin() as connection:
            connection.execute(text(statement))


def test_a_pool_never_carries_a_tenant_over(api, tenants):
    theirs, mine = tenants
    for _ in range(20):
        for tenant in (theirs, mine):
            with unit_of_work(api.database.engine("api"), tenant_id=tenant) as session:
                owners = session.execute(text("SELECT DISTINCT tenant_id FROM job")).scalars().all()
            assert set(owners) <= {tenant}
