"""Submitting analyses of one 336 px frame: latency at a fixed rate, with Redis up and down, and the limit.

    python -m benchmarks.api_submit --out benchmarks/results/api_submit.json

Open loop: requests start when the clock says so, whatever became of earlier ones, and their time counts
from that moment, so a stall cannot hide (coordinated omission). Closed loop: each client sends when its last
answer has come. API, dispatcher and PostgreSQL are the real ones, on this machine; no worker runs.
"""

import argparse
import asyncio
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx
import psutil
from PIL import Image, ImageFilter

from service.connections import engine
from service.domain.access import Role
from service.domain.ids import DEFAULT_TENANT_ID
from service.embedded import Embedded
from service.settings import Settings
from service.store.session import unit_of_work
from service.usecases import keys
from tests.contract.conftest import safetensors, spec

MODEL = "lesion-detector"
START_S = 30.0


@dataclass(frozen=True)
class Site:
    """A running installation and a ready-made request for it."""

    port: int
    request: bytes
    processes: dict[str, psutil.Process]


def frame() -> bytes:
    """A JPEG of the size of a capsule's: noise, softened until it weighs some 20 kB."""
    noise = Image.effect_noise((336, 336), 90).filter(ImageFilter.GaussianBlur(1.2)).convert("RGB")
    out = io.BytesIO()
    noise.save(out, "JPEG", quality=90)
    return out.getvalue()


def post(port: int, token: str, picture: bytes) -> bytes:
    boundary = b"enteron-benchmark"
    body = (
        b'--%b\r\nContent-Disposition: form-data; name="frames"; filename="a.jpg"\r\n'
        b"Content-Type: image/jpeg\r\n\r\n%b\r\n--%b--\r\n" % (boundary, picture, boundary)
    )
    head = (
        f"POST /api/v1/analyses HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: multipart/form-data; boundary={boundary.decode()}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Client:
    """One kept-alive connection; no more HTTP than it takes to tell when the answer is whole."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def submit(self) -> int:
        """The status."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._site.port)
        reader, writer = self._streams
        writer.write(self._site.request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        return int(head[9:12])

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


async def open_loop(site: Site, *, rate: float, seconds: float) -> dict[str, float]:
    idle: list[Client] = []
    latencies: list[float] = []
    failures = 0
    begun = time.perf_counter() + 0.2

    async def one(due: float) -> None:
        nonlocal failures
        client = idle.pop() if idle else Client(site)
        if await client.submit() != 202:
            failures += 1
        latencies.append(time.perf_counter() - due)
        idle.append(client)

    tasks = []
    for number in range(int(rate * seconds)):
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(due)))
    await asyncio.gather(*tasks)
    for client in idle:
        client.close()
    return {**percentiles(latencies), "failures": failures, "requests": len(latencies), "clients": len(idle)}


async def closed_loop(site: Site, *, clients: int, seconds: float) -> dict[str, float]:
    latencies: list[float] = []
    failures = 0
    end = time.perf_counter() + seconds

    async def loop() -> None:
        nonlocal failures
        client = Client(site)
        while time.perf_counter() < end:
            begun = time.perf_counter()
            if await client.submit() != 202:
                failures += 1
            latencies.append(time.perf_counter() - begun)
        client.close()

    before = cpu(site)
    begun = time.perf_counter()
    await asyncio.gather(*(loop() for _ in range(clients)))
    took_s = time.perf_counter() - begun
    shares = {f"{name}_cpus": round((now - before[name]) / took_s, 2) for name, now in cpu(site).items()}
    return {
        **percentiles(latencies),
        "per_s": round(len(latencies) / took_s, 1),
        "failures": failures,
        **shares,
    }


def percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    at = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "max_ms": 1.0}
    return {
        name: round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)
        for name, share in at.items()
    }


def cpu(site: Site) -> dict[str, float]:
    """CPU seconds so far of each part, its children included."""
    found = {}
    for name, process in site.processes.items():
        family = [process, *process.children(recursive=True)]
        found[name] = sum(sum(member.cpu_times()[:2]) for member in family)
    return found


def start(home: Path, port: int) -> tuple[Embedded, list[subprocess.Popen[bytes]], Site]:
    embedded = Embedded(home)
    embedded.start()
    embedded.prepare_database()
    processes = [
        launch(embedded, "service.cli", "api", role="api", port=port),
        launch(embedded, "service.dispatch", role="dispatcher", port=port),
    ]
    settings = Settings(
        database_url=embedded.database_url(), database_password_file=embedded.password_file("api")
    )
    connections = engine(settings, "api", pool_size=1)
    with unit_of_work(connections, tenant_id=DEFAULT_TENANT_ID) as session:
        issued = keys.issue(
            session,
            None,
            tenant_id=DEFAULT_TENANT_ID,
            name="benchmark",
            roles=Role,
            pepper=keys.read_pepper(embedded.key_pepper_file),
        )
    connections.dispose()
    prepare(port, issued.token)
    postmaster = int((home / "postgres" / "postmaster.pid").read_text().split()[0])
    watched = {"api": processes[0].pid, "dispatcher": processes[1].pid, "postgres": postmaster}
    parts = {name: psutil.Process(pid) for name, pid in watched.items()}
    return embedded, processes, Site(port, post(port, issued.token, frame()), parts)


def launch(embedded: Embedded, *module: str, role: str, port: int) -> subprocess.Popen[bytes]:
    environment = {
        "PATH": os.environ["PATH"],
        "ENTERON_HOME": str(embedded.home),
        "ENTERON_DATABASE_URL": embedded.database_url(),
        "ENTERON_DATABASE_PASSWORD_FILE": str(embedded.password_file(role)),
        "ENTERON_OBJECT_STORE_URL": (embedded.home / "objects").as_uri(),
        "ENTERON_API_PORT": str(port),
    }
    if role == "api":
        environment["ENTERON_KEY_PEPPER_FILE"] = str(embedded.key_pepper_file)
    else:
        environment["ENTERON_REDIS_URL"] = embedded.redis_url
    with (embedded.home / "logs" / f"{role}.log").open("wb") as log:
        return subprocess.Popen([sys.executable, "-m", *module], env=environment, stdout=log, stderr=log)


def prepare(port: int, token: str) -> None:
    """Wait until the API is ready, and give it a model of a few bytes: nothing here reads frames."""
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + START_S
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}) as client:
        while True:
            try:
                if client.get("/healthz/ready").is_success:
                    break
            except httpx.TransportError:
                pass
            if time.monotonic() > deadline:
                raise SystemExit("the API does not become ready; its log is in the home's folder")
            time.sleep(0.1)
        client.post(
            f"/api/v1/models/{MODEL}/import",
            files={"weights": ("w", safetensors())},
            data={"spec": json.dumps(spec(MODEL))},
        ).raise_for_status()
        client.put(
            f"/api/v1/models/{MODEL}/aliases/champion", json={"version": 1, "reason": "benchmark"}
        ).raise_for_status()


def measure(site: Site, embedded: Embedded, *, rate: float, seconds: float, rounds: int) -> dict[str, object]:
    asyncio.run(open_loop(site, rate=rate, seconds=2))  # caches and pools fill
    idle_mb = {name: round(process.memory_info().rss / 2**20, 1) for name, process in site.processes.items()}
    up, down = [], []
    for _ in range(rounds):
        embedded.redis.start()
        up.append(asyncio.run(open_loop(site, rate=rate, seconds=seconds)))
        embedded.redis.stop()
        down.append(asyncio.run(open_loop(site, rate=rate, seconds=seconds)))
    embedded.redis.start()
    saturated = [asyncio.run(closed_loop(site, clients=100, seconds=seconds / 2)) for _ in range(rounds)]
    return {
        "open_loop_redis_up": medians(up),
        "open_loop_redis_stopped": medians(down),
        "closed_loop_100_clients": medians(saturated),
        "rss_mb": idle_mb,
    }


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: median(run[name] for run in runs) for name in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=8477)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "home")
        embedded, processes, site = start(home, arguments.port)
        try:
            figures = measure(
                site, embedded, rate=arguments.rate, seconds=arguments.seconds, rounds=arguments.rounds
            )
        finally:
            for process in processes:
                process.terminate()
                process.wait()
            embedded.kill()
    machine = {"cpus": os.cpu_count(), "load_before": os.getloadavg()[0], "python": platform.python_version()}
    report = {"machine": machine, "rate_per_s": arguments.rate, "rounds": arguments.rounds, **figures}
    text = json.dumps(report, indent=1)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
