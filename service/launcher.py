"""`enteron up`: every part of Enteron on one machine, as processes of one private folder."""

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

from service.children import Children, Part
from service.client.access import forget_address, save_access, saved_access
from service.client.client import Enteron
from service.client.errors import Refused
from service.client.transport import Transport
from service.embedded import Embedded
from service.guard import Held, hold
from service.local import OPERATOR_ROLES, issue_key, on_embedded
from service.revival import kept_running
from service.settings import PREFIX, Limits, Role, Settings
from service.shipped import install

Say = Callable[[str], None]

_READY_WITHIN_S = 60.0
_WORKERS_WITHIN_S = 120.0
_DRAIN_S = 30.0
# Somebody waits for the first worker, when Enteron starts and whenever frames are read: long work gives way.
READER, LABOURER = "worker-interactive", "worker-batch"
WORKERS = {READER: "interactive", LABOURER: "batch,train,ehr"}
_LABOURER_NICENESS = 5


class LaunchError(RuntimeError):
    """The machine cannot be started; `advice` says what to do."""

    def __init__(self, wrong: str, advice: str) -> None:
        super().__init__(wrong)
        self.advice = advice


class Machine:
    """A running installation: where it answers, and with which key."""

    def __init__(self, url: str, key: str, children: Children) -> None:
        self.url = url
        self.key = key
        self.children = children
        self.client = Enteron(url, key)


@contextmanager
def running(settings: Settings, say: Say, hurry: Event | None = None) -> Iterator[Machine]:
    """Start everything; stop all of it in order when the block ends, at once if `hurry` is set."""
    home = settings.home.resolve()
    if not settings.embedded:
        raise LaunchError(
            "ENTERON_DATABASE_URL is set, and `enteron up` runs servers of its own.",
            "Unset it, or start the parts one by one: enteron migrate, api, dispatcher, worker.",
        )
    with ExitStack() as stack:
        embedded = Embedded(home)
        stack.enter_context(_held(home))
        stack.enter_context(_guarded(home))
        stack.callback(_timed, "PostgreSQL and Redis stopped", embedded.stop, say)
        _timed("PostgreSQL and Redis run", embedded.start, say)
        _timed("Database prepared", embedded.prepare_database, say)
        shipped = install(on_embedded(settings, embedded, role="api"))
        if shipped is not None:
            say(f"{shipped} is registered: the detector that Enteron ships")
        stack.enter_context(kept_running(embedded, say))
        listening = stack.enter_context(listen(settings.api_host, settings.api_port))
        port = listening.getsockname()[1]
        if port != settings.api_port:
            say(f"Port {settings.api_port} is taken: using {port}")
        children = Children(parts(settings, embedded, listening.fileno()), say, hurry)
        since = datetime.now(UTC)
        children.start()
        stack.callback(children.stop)
        stack.callback(say, "Stopping; workers put unfinished jobs back ...")
        stack.callback(forget_address, home)
        machine = _answering(settings, embedded, children, port)
        stack.callback(machine.client.close)
        say(f"API answers at {machine.url} {_after(since)}")
        _wait_for_reader(machine, since)
        children.start_late()
        say(f"Ready to read frames {_after(since)}")
        yield machine


@contextmanager
def _held(home: Path) -> Iterator[None]:
    try:
        with hold(home, "up", wait_s=0):
            yield
            return
    except Held as held:
        if held.holder != "guard":
            raise LaunchError(
                f"Enteron already runs in this folder ({saved_access(home).get('url', 'starting')}).",
                "Use it, stop it with Ctrl-C there, or set ENTERON_HOME to another folder.",
            ) from None
    with hold(home, "up", wait_s=30):  # a guard clears up after a killed one
        yield


@contextmanager
def _guarded(home: Path) -> Iterator[None]:
    """See `service.guard`: what ends the servers if this process is killed."""
    command = [sys.executable, "-m", "service.guard", str(home)]
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603 - our own module
    try:
        yield
    finally:
        guard.communicate(b".")


def parts(settings: Settings, embedded: Embedded, fd: int) -> list[Part]:
    """The processes: each has its own database role and no other's password; the API serves on a socket."""

    def part(name: str, role: Role, *module: str) -> Part:
        log = embedded.home / "logs" / f"{name}.log"
        environment = child_environment(on_embedded(settings, embedded, role=role))
        return Part(name, module, environment, log, stage=1)

    def worker(name: str) -> Part:
        made = part(name, "worker", "workers", "--queues", WORKERS[name])
        return replace(made, stage=0, grace_s=_DRAIN_S)

    return [
        worker(READER),
        replace(part("api", "api", "service.cli", "api", "--fd", str(fd)), fds=(fd,)),
        part("dispatcher", "dispatcher", "service.dispatch"),
        replace(worker(LABOURER), niceness=_LABOURER_NICENESS, late=True),
    ]


def child_environment(settings: Settings, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """These settings and no others of ours; what is at its default is not said."""
    kept = {name: value for name, value in base.items() if not name.startswith(PREFIX)}
    limits = {PREFIX + name.upper() for name in Limits.model_fields}
    kept |= {name: value for name, value in base.items() if name in limits}
    said = settings.model_dump(mode="json", exclude_defaults=True)
    return kept | {PREFIX + name.upper(): str(value) for name, value in said.items()}


def listen(host: str, wanted: int) -> socket.socket:
    """A listening socket on the wanted port, or on the next that nobody has.

    It is held here and handed to the API: on a port that was merely found free, another program might answer
    first, and be given our key.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in range(wanted, min(wanted + 100, 65536)):
        try:
            return socket.create_server((host, port), family=family, backlog=1024)
        except OSError as problem:
            if problem.errno != errno.EADDRINUSE:
                raise LaunchError(
                    f"{host}:{port} cannot be listened on ({problem.strerror}).",
                    "Set ENTERON_API_HOST and ENTERON_API_PORT.",
                ) from None
    raise LaunchError(f"No port is free from {wanted} on.", "Set ENTERON_API_PORT to a free one.")


def _answering(settings: Settings, embedded: Embedded, children: Children, port: int) -> Machine:
    """Wait for the API, then make sure that the saved key opens it."""
    host = "127.0.0.1" if settings.api_host in {"0.0.0.0", "::"} else settings.api_host  # noqa: S104 - compared
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    # The socket takes connections before the API does: each look waits only shortly for an answer.
    with Enteron(url, transport=Transport(url, None, timeout_s=1.0, attempts=1)) as anybody:
        _wait_until(anybody.is_ready, children, _READY_WITHIN_S)
    key = saved_access(embedded.home).get("key")
    if key is None or not _opens(url, key):
        used = on_embedded(settings, embedded, role="api")
        key = issue_key(used, name="enteron up", roles=OPERATOR_ROLES).token
    save_access(embedded.home, url=url, key=key)
    return Machine(url, key, children)


def _opens(url: str, key: str) -> bool:
    """Whether the key is neither revoked nor expired."""
    with Enteron(url, key) as client:
        try:
            client.me()
        except Refused:
            return False
    return True


def _wait_for_reader(machine: Machine, since: datetime) -> None:
    """Wait for the worker that a person waits for; the other one starts when this one needs no processor."""

    def ready() -> bool:
        return any(
            worker["state"] in {"idle", "busy"}
            and "interactive" in worker["queues"]
            and datetime.fromisoformat(worker["started_at"]) >= since
            for worker in machine.client.workers()
        )

    _wait_until(ready, machine.children, _WORKERS_WITHIN_S)


def _wait_until(done: Callable[[], bool], children: Children, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not done():
        failing = children.failing()
        if failing is not None:
            raise LaunchError(f"{failing.name} does not start:\n{tail(failing.log)}", "Run `enteron doctor`.")
        if time.monotonic() > deadline:
            raise LaunchError("Enteron does not get ready.", "Look at the logs in the folder logs.")
        time.sleep(0.1)


def tail(log: Path, lines: int = 8) -> str:
    try:
        text = log.read_text(errors="replace")
    except FileNotFoundError:
        return "(it wrote no log)"
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])


def _timed(what: str, act: Callable[[], None], say: Say) -> None:
    started = datetime.now(UTC)
    act()
    say(f"{what} {_after(started)}")


def _after(started: datetime) -> str:
    return f"({(datetime.now(UTC) - started).total_seconds():.1f} s)"
