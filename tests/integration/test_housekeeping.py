"""What nobody needs any more goes, under the dispatcher's role; what is young, named or in use stays."""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from service import housekeeping
from service.dispatch import Dispatcher, Pace
from service.domain.ids import new_id
from service.domain.jobs import Kind, Timers
from service.embedded import Embedded
from service.housekeeping import Housekeeper
from service.store import claims, files, idempotency, versions
from service.store.due import Due
from service.store.files import NewFile
from service.store.objects import Entry, ObjectMissing, file_key, job_key
from service.store.objects_folder import FolderStore
from service.store.versions import NewVersion
from service.usecases import jobs
from tests.databases import Database, cloned
from tests.job_bench import Bench

pytestmark = pytest.mark.integration

TWO_DAYS_S = 2 * 86_400
SHA256 = "0" * 64


@pytest.fixture(scope="module")
def clone(servers: Embedded) -> Iterator[Database]:
    yield from cloned(servers)


@pytest.fixture
def bench(clone: Database) -> Bench:
    bench = Bench(clone)
    bench.clear()
    bench.new_tenant()
    return bench


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


@pytest.fixture
def keeper(bench: Bench, store: FolderStore) -> Housekeeper:
    return Housekeeper(bench.database.engine("dispatcher"), store)


def put(store: FolderStore, key: str, *, age_s: float = TWO_DAYS_S) -> str:
    store.put_bytes(key, b"bytes")
    written = time.time() - age_s
    os.utime(store.root / key, (written, written))
    return key


def own_key(bench: Bench) -> str:
    return file_key(bench.person.tenant_id, new_id())


def key_of(bench: Bench, job_id: UUID, number: int = 0) -> str:
    return job_key(bench.person.tenant_id, job_id, fence=1, sha256=f"{number:064x}")


def new_file(bench: Bench, key: str) -> None:
    owner = {"tenant_id": bench.person.tenant_id, "principal_id": bench.person.id}
    with bench.api() as session:
        files.insert_files(session, [NewFile(new_id(), key, SHA256, 5, "image/png")], **owner)


def test_an_orphan_of_two_days_goes_and_a_fresh_one_stays(
    bench: Bench, store: FolderStore, keeper: Housekeeper
) -> None:
    put(store, own_key(bench))
    fresh = put(store, own_key(bench), age_s=60)
    assert keeper.round() == 1
    assert list(store.list()) == [fresh]


def test_what_a_row_names_stays(bench: Bench, store: FolderStore, keeper: Housekeeper) -> None:
    file, weights = put(store, own_key(bench)), put(store, own_key(bench))
    new_file(bench, file)
    spec = {"task": "image-multilabel", "code_version": "0"}
    with bench.api() as session:
        new = NewVersion("m", spec, {}, weights, SHA256, 5)
        versions.register(session, tenant_id=bench.person.tenant_id, new=new)
    named = {file, weights, *named_by_a_job(bench, store)}
    put(store, own_key(bench))
    assert keeper.round() == 1
    assert set(store.list()) == named


def named_by_a_job(bench: Bench, store: FolderStore) -> list[str]:
    """A block, a frame, a dataset's file and a version's report, of jobs that have ended."""
    version = new_version(bench)
    claim = bench.start(kind=Kind.TRAINING)
    block = put(store, key_of(bench, claim.id))
    with bench.worker(claim) as session:
        claims.insert_block(session, claim, block=0, items=1, object_key=block, sha256=SHA256)
    assert bench.finish(claim)
    analysis_id, dataset_id = new_id(), new_id()
    reading = ended(bench, Kind.ANALYSIS, {"analysis_id": str(analysis_id)})
    ingest = ended(bench, Kind.DATASET, {"dataset_id": str(dataset_id)})
    frame, pack = put(store, key_of(bench, reading)), put(store, key_of(bench, ingest))
    exporting = ended(bench, Kind.EXPORT, {"model_version_id": str(version)})
    report = put(store, key_of(bench, exporting))
    values = {
        "tenant": bench.person.tenant_id,
        "person": bench.person.id,
        "analysis": analysis_id,
        "reading": reading,
        "version": version,
        "frame": frame,
        "dataset": dataset_id,
        "ingest": ingest,
        "pack": pack,
        "exporting": exporting,
        "report": report,
    }
    with bench.database.engine("owner").begin() as connection:
        for statement in ROWS:
            connection.execute(text(statement), values)
    return [block, frame, pack, report]


ROWS = (
    """INSERT INTO analysis (id, tenant_id, principal_id, job_id, model_version_id, operating_point)
       VALUES (:analysis, :tenant, :person, :reading, :version, 'balanced')""",
    """INSERT INTO analysis_frame (tenant_id, analysis_id, ordinal, name, sha256, size_bytes, width_px,
                                   height_px, object_key, object_offset, object_length)
       VALUES (:tenant, :analysis, 0, 'a', '0', 5, 1, 1, :frame, 0, 5)""",
    """INSERT INTO dataset (id, tenant_id, principal_id, job_id, name, version, kind, format, options,
                            fingerprint, objects)
       VALUES (:dataset, :tenant, :person, :ingest, 'd', 1, 'frames', 'plain', '{}', 'f',
               jsonb_build_object('pack', jsonb_build_object('object_key', CAST(:pack AS text))))""",
    """INSERT INTO version_file (id, tenant_id, model_version_id, form, job_id, object_key, sha256,
                                 size_bytes)
       VALUES (:exporting, :tenant, :version, 'report', :exporting, :report, '0', 5)""",
)


def new_version(bench: Bench) -> UUID:
    spec = {"task": "image-multilabel", "code_version": "0"}
    new = NewVersion("reader", spec, {}, own_key(bench), SHA256, 5)
    with bench.api() as session:
        return versions.register(session, tenant_id=bench.person.tenant_id, new=new).model_version_id


def ended(bench: Bench, kind: Kind, spec: dict[str, str]) -> UUID:
    with bench.api() as session:
        job_id = jobs.submit(session, bench.person, kind, spec).id
    bench.dispatch()
    (claim,) = bench.claim(job_id)
    assert bench.finish(claim)
    return job_id


def test_what_a_running_job_wrote_stays_until_it_has_ended(
    bench: Bench, store: FolderStore, keeper: Housekeeper
) -> None:
    claim = bench.start()
    put(store, key_of(bench, claim.id))
    assert keeper.round() == 0
    assert bench.finish(claim)
    assert keeper.round() == 1


def test_a_checkpoint_stays_as_long_as_its_training_runs(
    bench: Bench, store: FolderStore, keeper: Housekeeper
) -> None:
    claim = bench.start(kind=Kind.TRAINING)
    checkpoint = put(store, key_of(bench, claim.id))
    with bench.worker(claim) as session:
        assert claims.accept_checkpoint(session, claim, {"kept": [{"object_key": checkpoint}]})
    assert keeper.round() == 0
    assert bench.finish(claim)
    assert keeper.round() == 1


def test_a_key_of_another_form_is_never_an_orphan(
    bench: Bench, store: FolderStore, keeper: Housekeeper
) -> None:
    tenant = bench.person.tenant_id
    strange = {put(store, f"{tenant}/exams/{new_id()}"), put(store, f"{tenant}/jobs/{'-' * 36}/1/{SHA256}")}
    put(store, "doctor/probe")
    assert keeper.round() == 0
    assert set(store.list()) == {*strange, "doctor/probe"}


def test_a_round_ends_between_steps_when_it_is_asked_to(
    bench: Bench, store: FolderStore, keeper: Housekeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "KEYS_AT_ONCE", 2)
    for _ in range(5):
        put(store, own_key(bench))
    asked = iter([False, False, True])
    assert keeper.round(lambda: next(asked)) == 2
    assert keeper.round() == 3


def test_answers_go_however_many_there_are(bench: Bench, store: FolderStore) -> None:
    with bench.api() as session:
        for number in range(5):
            person, key = bench.person, str(number)
            assert idempotency.claim(session, person.tenant_id, person.id, key=key, request_sha256=SHA256)
    with bench.database.engine("owner").begin() as connection:
        connection.execute(text("UPDATE idempotency SET created_at = now() - interval '25 hours'"))
    assert Housekeeper(bench.database.engine("dispatcher"), store, answers_at_once=2).round() == 5


def test_an_answer_past_its_lifetime_goes_and_a_younger_one_stays(bench: Bench, keeper: Housekeeper) -> None:
    with bench.api() as session:
        for key in ("old", "young"):
            person = bench.person
            assert idempotency.claim(session, person.tenant_id, person.id, key=key, request_sha256=SHA256)
    with bench.database.engine("owner").begin() as connection:
        connection.execute(
            text("UPDATE idempotency SET created_at = now() - interval '25 hours' WHERE key = 'old'")
        )
    assert keeper.round() == 1
    with bench.api() as session:
        assert list(session.scalars(text("SELECT key FROM idempotency"))) == ["young"]


def test_every_column_that_names_an_object_is_known_to_the_housekeeper(clone: Database) -> None:
    """Whoever adds one must add it to `orphaned_objects`, or its objects are removed after a day."""
    query = text(
        "SELECT table_name || '.' || column_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND (column_name LIKE '%\\_key' OR column_name LIKE '%object%'"
        " OR column_name LIKE '%checkpoint%')"
    )
    with clone.engine("owner").connect() as connection:
        found = set(connection.execute(query).scalars())
        (body,) = connection.execute(
            text("SELECT prosrc FROM pg_proc WHERE proname = 'orphaned_objects'")
        ).scalars()
    no_objects = {"job.batch_key", "audit_event.object_id", "audit_event.object_type"}
    assert found - no_objects == {
        "analysis_frame.object_key",
        "analysis_frame.object_length",
        "analysis_frame.object_offset",
        "dataset.objects",
        "file.object_key",
        "job.checkpoint",
        "job_block.object_key",
        "model_version.weights_key",
        "version_file.object_key",
    }
    tables = ("analysis_frame", "dataset", "file", "job_block", "model_version", "version_file")
    assert all(table in body for table in tables)


@pytest.mark.parametrize("role", ["api", "worker", "auditor"])
@pytest.mark.parametrize("function", ["orphaned_objects", "forget_answers"])
def test_nobody_but_the_dispatcher_may_ask(clone: Database, role: str, function: str) -> None:
    query = text("SELECT has_function_privilege(:role, oid, 'EXECUTE') FROM pg_proc WHERE proname = :name")
    with clone.engine("owner").connect() as connection:
        asked = {
            asking: connection.execute(query, {"role": f"enteron_{asking}", "name": function}).scalar_one()
            for asking in (role, "dispatcher")
        }
    assert asked == {role: False, "dispatcher": True}


class NoBroker:
    """Nothing is due in these tests."""

    def backlog(self, _queue: str) -> int:
        return 0

    def send(self, _jobs: Sequence[Due]) -> list[Due]:
        return []


class NoBucket(FolderStore):
    """A store whose listing fails as a bucket's does that somebody has removed."""

    asked = 0

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        self.asked += 1
        raise ObjectMissing(prefix)


def test_a_failed_round_does_not_end_the_dispatcher(bench: Bench, tmp_path: Path) -> None:
    store, engine = NoBucket(tmp_path), bench.database.engine("dispatcher")
    pace = Pace(housekeep_every_s=0.02)
    dispatcher = Dispatcher(engine, NoBroker(), Timers(), pace, Housekeeper(engine, store))
    ends: list[bool] = []
    running = threading.Thread(target=lambda: ends.append(dispatcher.run()))
    running.start()
    deadline = time.monotonic() + 30
    while store.asked < 2 and running.is_alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    dispatcher.stop()
    running.join()
    assert store.asked >= 2
    assert ends == [True]


def test_the_dispatcher_keeps_house_by_itself(bench: Bench, store: FolderStore, keeper: Housekeeper) -> None:
    put(store, own_key(bench))
    dispatcher = Dispatcher(
        bench.database.engine("dispatcher"), NoBroker(), Timers(), Pace(housekeep_every_s=0.02), keeper
    )
    running = threading.Thread(target=dispatcher.run)
    running.start()
    deadline = time.monotonic() + 30
    while list(store.list()) and time.monotonic() < deadline:
        time.sleep(0.02)
    dispatcher.stop()
    running.join()
    assert list(store.list()) == []
