"""row security, grants, history and audit triggers

Deny by default: row-level security is forced on every table, and a role sees only what a policy opens. The
owner needs a policy too: under FORCE its own UPDATE would touch no row, in silence.

Revision ID: 0002_row_security
Revises: 0001_first_schema
Create Date: 2026-11-22 19:05:00
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0002_row_security"
down_revision: str | None = "0001_first_schema"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SYSTEM_TENANT = "00000000-0000-7000-8000-000000000000"
DEFAULT_TENANT = "00000000-0000-7000-8000-000000000001"

# Tables whose rows belong to one tenant, with what the API and the worker may do beside reading.
TENANT_TABLES = {
    "analysis": {"api": "INSERT", "worker": ""},
    "analysis_frame": {"api": "", "worker": "INSERT"},
    "analysis_input": {"api": "INSERT", "worker": ""},
    "api_key": {"api": "INSERT, UPDATE"},
    "audit_event": {"api": "INSERT", "worker": "INSERT"},
    "dataset": {"api": "INSERT", "worker": "UPDATE"},
    "dataset_file": {"api": "INSERT", "worker": ""},
    "file": {"api": "INSERT", "worker": "INSERT"},
    "finding": {"api": "", "worker": "INSERT"},
    "idempotency": {"api": "INSERT, UPDATE"},
    "job": {"api": "INSERT, UPDATE", "worker": "INSERT, UPDATE", "dispatcher": "UPDATE"},
    "job_block": {"api": "INSERT", "worker": "INSERT"},
    "job_event": {"api": "", "worker": "INSERT"},
    "job_metric": {"api": "", "worker": "INSERT, UPDATE"},
    "job_result": {"api": "", "worker": "INSERT"},
    "model": {"api": "INSERT", "worker": "INSERT"},
    "model_alias": {"api": "INSERT, UPDATE", "worker": ""},
    "model_version": {"api": "INSERT", "worker": "INSERT"},
    "prediction": {"api": "INSERT", "worker": ""},
    "prediction_row": {"api": "", "worker": "INSERT"},
    "principal": {"api": "INSERT", "worker": ""},
    "promotion": {"api": "INSERT"},
}
SHARED_BY_SYSTEM_TENANT = ("model", "model_version", "model_alias")
APPEND_ONLY = ("audit_event", "file", "finding", "job_event", "job_result", "model_version", "promotion")

JOB_FUNCTIONS = """
CREATE FUNCTION job_may_move(before text, after text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT (before, after) IN (
    ('waiting', 'queued'), ('waiting', 'cancelled'),
    ('queued', 'running'), ('queued', 'cancelled'),
    ('running', 'succeeded'), ('running', 'failed'), ('running', 'cancelled'), ('running', 'dead'),
    ('running', 'queued'))
$$;

CREATE FUNCTION job_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.state IN ('succeeded', 'failed', 'cancelled', 'dead') THEN
    RAISE EXCEPTION 'a final job does not change' USING ERRCODE = 'check_violation';
  END IF;
  IF NEW.state <> OLD.state AND NOT job_may_move(OLD.state, NEW.state) THEN
    RAISE EXCEPTION 'no move from % to %', OLD.state, NEW.state USING ERRCODE = 'check_violation';
  END IF;
  IF NEW.fence < OLD.fence OR (OLD.state = 'running' AND NEW.fence <> OLD.fence) THEN
    RAISE EXCEPTION 'a fence only rises, and only by a claim' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;

CREATE FUNCTION job_history() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND NEW.state = OLD.state THEN RETURN NULL; END IF;
  INSERT INTO job_event (tenant_id, job_id, code, fence, numbers)
  VALUES (NEW.tenant_id, NEW.id, 'state.' || NEW.state, NEW.fence,
          jsonb_build_object('failures', NEW.failures, 'preemptions', NEW.preemptions));
  INSERT INTO audit_event (tenant_id, principal_id, action, outcome, operation, object_type, object_id)
  VALUES (NEW.tenant_id, nullif(current_setting('app.principal', true), '')::uuid,
          CASE TG_OP WHEN 'INSERT' THEN 'C' ELSE 'U' END,
          CASE NEW.state WHEN 'cancelled' THEN 4 WHEN 'failed' THEN 8 WHEN 'dead' THEN 12 ELSE 0 END,
          'job.' || NEW.state, 'job', NEW.id);
  RETURN NULL;
END $$;

CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'check_violation';
END $$;

CREATE TRIGGER guard BEFORE UPDATE ON job FOR EACH ROW EXECUTE FUNCTION job_guard();
CREATE TRIGGER history AFTER INSERT OR UPDATE OF state ON job FOR EACH ROW EXECUTE FUNCTION job_history();
"""

# The dispatcher removes what nobody needs, and must see no tenant's rows for it. Keys of a form that is not
# known here, and those of a job that has not ended, are never orphans; of one that has, nobody reads the
# checkpoints. A test asks that every other column that names an object stands below.
HOUSEKEEPING_FUNCTIONS = """
CREATE FUNCTION forget_answers(older_than interval, at_most integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  WITH gone AS (
    DELETE FROM idempotency WHERE (tenant_id, principal_id, key) IN (
      SELECT tenant_id, principal_id, key FROM idempotency
      WHERE created_at < now() - older_than LIMIT at_most)
    RETURNING 1)
  SELECT count(*) FROM gone
$$;

CREATE FUNCTION orphaned_objects(keys text[]) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  WITH given AS MATERIALIZED (
    SELECT key FROM unnest(keys) AS key
    WHERE key ~ '^<uuid>/(files/<uuid>|jobs/<uuid>/[0-9]+/[0-9a-f]{64})$'),
  made AS MATERIALIZED (
    SELECT key, CASE split_part(key, '/', 2) WHEN 'jobs' THEN split_part(key, '/', 3)::uuid END AS job_id
    FROM given),
  maker AS MATERIALIZED (SELECT * FROM job WHERE id IN (SELECT job_id FROM made)),
  named AS (
    SELECT object_key FROM file WHERE object_key IN (SELECT key FROM given)
    UNION ALL SELECT weights_key FROM model_version WHERE weights_key IN (SELECT key FROM given)
    UNION ALL SELECT object_key FROM job_block WHERE job_id IN (SELECT id FROM maker)
    UNION ALL SELECT object_key FROM analysis_frame
      WHERE analysis_id IN (SELECT (spec ->> 'analysis_id')::uuid FROM maker)
    UNION ALL SELECT stored.value ->> 'object_key' FROM dataset, jsonb_each(dataset.objects) AS stored
      WHERE dataset.id IN (SELECT (spec ->> 'dataset_id')::uuid FROM maker))
  SELECT key FROM made LEFT JOIN maker ON maker.id = made.job_id
  WHERE (maker.id IS NULL OR maker.finished_at IS NOT NULL)
    AND NOT EXISTS (SELECT FROM named WHERE named.object_key = key)
$$;

REVOKE ALL ON FUNCTION forget_answers, orphaned_objects FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_answers, orphaned_objects TO enteron_dispatcher;
""".replace("<uuid>", "[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute(
        f"INSERT INTO tenant (id, name) VALUES ('{SYSTEM_TENANT}', 'system'), ('{DEFAULT_TENANT}', 'default')"
    )
    for table, grants in TENANT_TABLES.items():
        _secure(table, grants)
    _open_what_must_be_open()
    op.execute(JOB_FUNCTIONS)
    op.execute(HOUSEKEEPING_FUNCTIONS)
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION append_only()"
        )


def _secure(table: str, grants: dict[str, str]) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY owner ON {table} TO enteron_owner USING (true) WITH CHECK (true)")
    for role, verbs in grants.items():
        op.execute(f"GRANT SELECT{', ' if verbs else ''}{verbs} ON {table} TO enteron_{role}")
    # The job table alone is open to the parts that serve every tenant; its rows hold no PHI.
    roles = ["api"] if table == "job" else [role for role in grants if role != "dispatcher"]
    op.execute(
        f"CREATE POLICY tenant ON {table} TO {', '.join(f'enteron_{role}' for role in roles)}"
        " USING (tenant_id = current_setting('app.tenant')::uuid)"
        " WITH CHECK (tenant_id = current_setting('app.tenant')::uuid)"
    )


def _open_what_must_be_open() -> None:
    op.execute(
        "CREATE POLICY engine ON job TO enteron_worker, enteron_dispatcher USING (true) WITH CHECK (true)"
    )
    # A key is looked up before its tenant is known; the row holds hashes only.
    op.execute("CREATE POLICY lookup ON api_key FOR SELECT TO enteron_api USING (true)")
    for table in SHARED_BY_SYSTEM_TENANT:
        op.execute(
            f"CREATE POLICY shared ON {table} FOR SELECT TO enteron_api, enteron_worker"
            f" USING (tenant_id = '{SYSTEM_TENANT}'::uuid)"
        )
    for table in ("audit_event", "job_event"):
        op.execute(f"GRANT SELECT ON {table} TO enteron_auditor")
        op.execute(f"CREATE POLICY auditor ON {table} FOR SELECT TO enteron_auditor USING (true)")
    # A retry gives the work to another job, and changes nothing else of it.
    for table in ("analysis", "dataset", "prediction"):
        op.execute(f"GRANT UPDATE (job_id) ON {table} TO enteron_api")
    op.execute("GRANT SELECT ON tenant TO enteron_api, enteron_worker, enteron_dispatcher, enteron_auditor")
    op.execute("GRANT SELECT, INSERT, UPDATE ON worker TO enteron_worker")
    op.execute("GRANT SELECT ON worker TO enteron_api, enteron_dispatcher")
    op.execute("GRANT DELETE ON worker TO enteron_dispatcher")
    op.execute("GRANT SELECT ON alembic_version TO enteron_api, enteron_worker, enteron_dispatcher")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    for table in APPEND_ONLY:
        op.execute(f"DROP TRIGGER append_only ON {table}")
    op.execute("DROP TRIGGER history ON job")
    op.execute("DROP TRIGGER guard ON job")
    op.execute("DROP FUNCTION forget_answers, orphaned_objects")
    op.execute("DROP FUNCTION job_guard, job_history, job_may_move, append_only")
    for policy, tables in {
        "engine": ("job",),
        "lookup": ("api_key",),
        "shared": SHARED_BY_SYSTEM_TENANT,
        "auditor": ("audit_event", "job_event"),
    }.items():
        for table in tables:
            op.execute(f"DROP POLICY {policy} ON {table}")
    for table in TENANT_TABLES:
        op.execute(f"DROP POLICY tenant ON {table}")
        op.execute(f"DROP POLICY owner ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    everybody = "enteron_api, enteron_worker, enteron_dispatcher, enteron_auditor"
    op.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {everybody}")
    op.execute(f"DELETE FROM tenant WHERE id IN ('{SYSTEM_TENANT}', '{DEFAULT_TENANT}')")
