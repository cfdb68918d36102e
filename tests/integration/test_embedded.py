"""The embedded servers are private, survive every kind of death, and keep what was committed."""

import os
import signal
import stat
import subprocess
import sys
import threading
from dataclasses import replace

import psycopg
import pytest
import redis
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError

from service.embedded import Embedded, Status
from service.embedded_process import Daemon, as_other_user, in_namespace
from service.store.bootstrap import ROLES, UnsafeRoleError, check_role_is_safe
from service.store.session import connect
from tests.databases import Database

BOTH = Status(postgres=True, redis=True)
NONE = Status(postgres=False, redis=False)


@pytest.fixture
def home(tmp_path):
    """A home of the test's own, with no process left behind."""
    folder = tmp_path / "home"
    yield folder
    Embedded(folder).kill()


def query(embedded: Embedded, statement: str) -> list[tuple]:
    with psycopg.connect(
        host=str(embedded.postgres.sockets),
        user="postgres",
        dbname="postgres",
        password=embedded.postgres.superuser_password_file.read_text(),
        autocommit=True,
    ) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_stops_and_keeps_the_data(home):
    embedded = Embedded(home)
    embedded.start()
    assert embedded.status() == BOTH
    query(embedded, "CREATE TABLE kept AS SELECT 7 AS n")
    embedded.stop()
    assert embedded.status() == NONE
    Embedded(home).start()
    assert query(Embedded(home), "SELECT n FROM kept") == [(7,)]


def test_survives_kill_9_and_recycled_pids(home):
    embedded = Embedded(home)
    embedded.start()
    query(embedded, "CREATE TABLE kept AS SELECT 7 AS n")
    embedded.kill()
    # The pid file now names a living process that is no PostgreSQL.
    pid_file = embedded.postgres.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:], ""]))
    assert embedded.status() == NONE
    embedded.start()
    assert embedded.status() == BOTH
    assert query(embedded, "SELECT n FROM kept") == [(7,)]


def test_second_start_takes_over_the_first_ones_servers(home):
    Embedded(home).start()
    before = Daemon("postgres", home / "postgres").pids()
    Embedded(home).start()
    assert set(before) & set(Daemon("postgres", home / "postgres").pids())


def test_two_starts_at_once_give_one_cluster(home):
    code = "import pathlib, sys, service.embedded as e; e.Embedded(pathlib.Path(sys.argv[1])).start()"
    racers = [subprocess.Popen([sys.executable, "-c", code, str(home)]) for _ in range(2)]
    assert [racer.wait(timeout=60) for racer in racers] == [0, 0]
    assert Embedded(home).status() == BOTH
    assert len(Daemon("redis-server", home / "redis").pids()) == 1
    assert query(Embedded(home), "SELECT 1") == [(1,)]


def test_start_heals_a_server_that_lost_its_sockets(home):
    embedded = Embedded(home)
    embedded.start()
    for entry in embedded.postgres.sockets.iterdir():
        entry.unlink()
    assert embedded.status() == NONE
    embedded.start()
    assert embedded.status() == BOTH


def test_home_with_a_path_too_long_for_sockets(tmp_path):
    embedded = Embedded(tmp_path / ("long" * 25) / ("longer" * 15))
    try:
        embedded.start()
        assert embedded.status() == BOTH
        assert Embedded(embedded.home).postgres.sockets == embedded.postgres.sockets
        assert stat.S_IMODE(embedded.postgres.sockets.stat().st_mode) == 0o700
    finally:
        embedded.kill()
        for entry in embedded.postgres.sockets.iterdir():
            entry.unlink()
        embedded.postgres.sockets.rmdir()


def test_home_with_a_name_that_shells_and_urls_mind(tmp_path):
    embedded = Embedded(tmp_path / """a b'c"d$HOME%s@x+y""")
    try:
        embedded.start()
        assert embedded.status() == BOTH
        embedded.prepare_database()
    finally:
        embedded.kill()


@pytest.mark.needs("root", "command:setpriv")
@pytest.mark.parametrize(
    "run_as", [pytest.param(in_namespace, marks=pytest.mark.needs("user-namespaces")), as_other_user]
)
def test_root_starts_postgres_in_a_folder_only_root_may_enter(home, run_as):
    postgres = replace(Embedded(home).postgres, run_as=run_as())
    postgres.start()
    assert postgres.is_ready()
    postgres.stop()
    assert not postgres.is_ready()


def test_a_replaced_socket_folder_is_not_trusted(tmp_path):
    home = tmp_path / ("long" * 25) / ("longer" * 15)
    folder = Embedded(home).postgres.sockets
    folder.rmdir()
    folder.mkdir(mode=0o755)
    chosen = Embedded(home).postgres.sockets
    try:
        assert chosen != folder
    finally:
        folder.rmdir()
        chosen.rmdir()


def test_everything_is_private(servers):
    readable = [
        path
        for path in (servers.home, *servers.home.iterdir(), *(servers.home / "secrets").iterdir())
        if path.is_dir() and stat.S_IMODE(path.stat().st_mode) != 0o700
    ]
    assert readable == []
    secrets = list((servers.home / "secrets").iterdir())
    assert secrets
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}
    assert len({path.read_text() for path in secrets}) == len(secrets)


def test_settings_of_the_job_engine(servers):
    expected = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "listen_addresses": "",
        "password_encryption": "scram-sha-256",
        "client_connection_check_interval": "5s",
        "unix_socket_permissions": "0700",
    }
    assert {name: query(servers, f"SHOW {name}")[0][0] for name in expected} == expected
    assert query(servers, "SHOW server_version")[0][0].startswith("18.")


def test_wrong_password_is_refused(servers, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("guess")
    engine = connect(servers.database_url("api"), password_file=wrong, application="test")
    with pytest.raises(OperationalError, match="password authentication failed"), engine.connect():
        pass


def test_redis_answers_without_persistence(servers):
    client = redis.Redis(unix_socket_path=str(servers.redis.socket))
    try:
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert client.config_get("maxmemory")["maxmemory"] == str(128 << 20)
        assert client.config_get("save")["save"] == ""
        assert client.config_get("port")["port"] == "0"
    finally:
        client.close()


def test_immediate_restart_recovers_committed_rows(home):
    embedded = Embedded(home)
    embedded.start()
    query(embedded, "CREATE TABLE kept AS SELECT 7 AS n")
    embedded.restart_postgres()
    assert query(embedded, "SELECT n FROM kept") == [(7,)]


def test_prepare_database_is_repeatable_and_races(home):
    Embedded(home).start()
    problems: list[Exception] = []

    def prepare() -> None:
        try:
            Embedded(home).prepare_database()
        except Exception as problem:
            problems.append(problem)

    racers = [threading.Thread(target=prepare) for _ in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert problems == []


@pytest.mark.parametrize("role", sorted(set(ROLES) - {"owner"}))
def test_application_roles_are_safe(committed_db: Database, role):
    with committed_db.engine(role).connect() as connection:
        check_role_is_safe(connection)
        with pytest.raises(DBAPIError, match="permission denied"):
            connection.execute(text("CREATE TABLE mine (n int)"))


def test_owner_may_not_serve(committed_db: Database):
    with (
        committed_db.engine("owner").connect() as connection,
        pytest.raises(UnsafeRoleError, match="owner"),
    ):
        check_role_is_safe(connection)


def test_member_of_the_owner_may_not_serve(home):
    embedded = Embedded(home)
    embedded.start()
    embedded.prepare_database()
    query(embedded, "GRANT enteron_owner TO enteron_api")
    engine = connect(
        embedded.database_url("api"), password_file=embedded.password_file("api"), application="test"
    )
    with engine.connect() as connection, pytest.raises(UnsafeRoleError):
        check_role_is_safe(connection)
    engine.dispose()


def test_no_value_of_a_failed_statement_reaches_the_log(servers, database):
    with (
        pytest.raises(DBAPIError),
        database.engine("api").connect() as connection,
    ):
        connection.execute(text("SELECT 'Jane Canary'::uuid"))
    log = (servers.home / "logs" / "postgres.log").read_text()
    assert "ready to accept connections" in log
    assert "Canary" not in log


def test_a_stranger_in_the_folder_is_not_taken_for_a_server(home):
    embedded = Embedded(home)
    stranger = subprocess.Popen(["sleep", "60"], cwd=embedded.redis.folder)
    try:
        assert Daemon("redis-server", embedded.redis.folder).pids() == []
        assert Daemon("sleep", embedded.redis.folder).pids() == [stranger.pid]
    finally:
        stranger.send_signal(signal.SIGKILL)
        stranger.wait()


def test_db_forgets_what_a_test_commits(db, principal, database):
    db.commit()
    with database.engine("owner").connect() as other:
        seen = other.execute(text("SELECT count(*) FROM principal WHERE id = :id"), {"id": principal.id})
        assert seen.scalar_one() == 0
