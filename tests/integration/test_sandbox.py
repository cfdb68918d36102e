import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.imaging.datasets import FramesDataset
from models.imaging.decode import decode_frame
from models.imaging.preprocess import fit_square
from workers.sandbox_client import Decoded, Refused, Sandbox, SandboxRefused, SandboxUnavailable

pytestmark = pytest.mark.integration

DATA = Path(os.environ.get("ENTERON_TEST_DATA", "../shared/data"))
SIZE = 48

# A child that obeys what frames tell it, as one with a hole in its decoder would.
TROUBLED = """
    import ctypes, os, sys, time
    from models.imaging import ingest
    from workers import sandbox

    decode = sandbox.decode_frame

    def obey(data):
        if data.startswith(b"CRASH"):
            ctypes.string_at(0)
        if data.startswith(b"HANG"):
            time.sleep(1000)
        while data.startswith(b"SPIN"):
            pass
        if data.startswith(b"PRINT"):
            os.write(1, b"stray output")
            print("more of it")
        if data.startswith(b"LEAK"):
            hoard = bytearray(3 << 30)
        if data.startswith(b"SOCKET"):
            import socket
            try:
                socket.socket(socket.AF_UNIX)
            except PermissionError:
                raise sandbox.Undecodable("corrupt", "no sockets") from None
        if data.startswith(b"PROGRAM"):
            try:
                os.execv("/bin/true", ["true"])
            except PermissionError:
                raise sandbox.Undecodable("corrupt", "no programs") from None
        if data.startswith(b"SECRETS"):
            known = [name for name in os.environ if name.startswith("ENTERON")]
            raise sandbox.Undecodable("corrupt", repr(known))
        return decode(data)

    sandbox.decode_frame = ingest.decode_frame = obey
    sandbox.main()
"""
TROUBLED_COMMAND = (sys.executable, "-c", textwrap.dedent(TROUBLED))


def picture(seed: int = 0, height: int = 40, width: int = 60) -> NDArray[np.uint8]:
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height)))


def encoded(seed: int = 0, form: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(seed)).save(buffer, form)
    return buffer.getvalue()


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def codes(results: list[Decoded | Refused]) -> list[str]:
    return [result.code if isinstance(result, Refused) else "" for result in results]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as started:
        yield started


@pytest.fixture
def troubled() -> Iterator[Sandbox]:
    with Sandbox(command=TROUBLED_COMMAND, wall_s=15, cpu_s=1) as started:
        yield started


def gone(pid: int) -> bool:
    """Whether the process ends; it may take a moment, and a zombie counts."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_decoding_equals_that_of_the_same_process(sandbox: Sandbox) -> None:
    frames = [encoded(seed, form) for seed in range(100) for form in ("JPEG", "PNG", "TIFF")]
    results = sandbox.decode(frames, SIZE)
    assert len(results) == 300
    for data, result in zip(frames, results, strict=True):
        assert isinstance(result, Decoded)
        pixels = np.frombuffer(result.pixels, np.uint8).reshape(SIZE, SIZE, 3)
        assert np.array_equal(pixels, fit_square(decode_frame(data), SIZE))
        assert (result.width, result.height) == (60, 40)
        assert set(result.quality) >= {"brightness", "sharpness", "flags"}


def test_a_bad_frame_fails_alone(sandbox: Sandbox) -> None:
    frames = [encoded(), b"", b"GIF89a", encoded()[:-30], encoded()]
    assert codes(sandbox.decode(frames, SIZE)) == ["", "empty", "unknown_format", "truncated", ""]


def test_no_frames_are_no_frames(sandbox: Sandbox) -> None:
    assert sandbox.decode([], SIZE) == []


def test_the_child_is_confined(sandbox: Sandbox) -> None:
    sandbox.ping()
    assert any(sandbox.confinement.values())
    limits = Path(f"/proc/{sandbox.pid}/limits").read_text()
    found = {line[:25].strip(): line[25:].split()[:2] for line in limits.splitlines()}
    assert found["Max address space"] == [str(2 << 30)] * 2
    assert found["Max open files"] == ["64"] * 2
    assert found["Max core file size"] == ["0"] * 2


def test_hostile_images_do_not_end_the_child(sandbox: Sandbox) -> None:
    folder = DATA / "hostile"
    if not folder.exists():
        pytest.skip("the hostile images are not here")
    frames = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]
    sandbox.ping()
    child = sandbox.pid
    results = codes(sandbox.decode(frames, SIZE))
    assert len(results) == len(frames)
    assert not {"decoder_died", "decoder_timeout", "out_of_memory"} & set(results)
    assert sandbox.pid == child


@pytest.mark.parametrize(
    ("order", "code"),
    [(b"CRASH", "decoder_died"), (b"SPIN", "decoder_timeout"), (b"LEAK", "decoder_died")],
)
def test_only_the_killer_fails(troubled: Sandbox, order: bytes, code: str) -> None:
    frames = [encoded(seed) for seed in range(6)]
    frames[3] = order
    assert codes(troubled.decode(frames, SIZE)) == ["", "", "", code, "", ""]


def test_killers_in_a_row_first_and_last(troubled: Sandbox) -> None:
    frames = [b"CRASH", encoded(), b"CRASH", b"CRASH", encoded(), b"CRASH"]
    died = "decoder_died"
    assert codes(troubled.decode(frames, SIZE)) == [died, "", died, died, "", died]


def test_a_hanging_frame_is_a_timeout() -> None:
    with Sandbox(command=TROUBLED_COMMAND, wall_s=2) as troubled:
        assert codes(troubled.decode([encoded(), b"HANG", encoded()], SIZE)) == ["", "decoder_timeout", ""]


def test_stray_output_does_not_break_the_protocol(troubled: Sandbox) -> None:
    assert codes(troubled.decode([b"PRINT", encoded()], SIZE)) == ["unknown_format", ""]


def test_the_child_can_make_no_socket_and_start_no_program(troubled: Sandbox) -> None:
    troubled.ping()
    if not troubled.confinement["seccomp"]:
        pytest.skip("the kernel has no seccomp filter for this machine")
    results = troubled.decode([b"SOCKET", b"PROGRAM"], SIZE)
    assert [result.message for result in results if isinstance(result, Refused)] == [
        "no sockets",
        "no programs",
    ]


def test_the_child_sees_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENTERON_DATABASE_PASSWORD_FILE", "secret")
    with Sandbox(command=TROUBLED_COMMAND) as troubled:
        (result,) = troubled.decode([b"SECRETS"], SIZE)
    assert isinstance(result, Refused)
    assert result.message == "[]"


def test_a_killed_child_is_replaced(sandbox: Sandbox) -> None:
    sandbox.ping()
    child = sandbox.pid
    assert child is not None
    os.kill(child, signal.SIGKILL)
    assert codes(sandbox.decode([encoded()] * 3, SIZE)) == ["", "", ""]
    assert sandbox.pid != child


def test_a_child_killed_in_mid_request_loses_no_frame(sandbox: Sandbox, tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {f"{n}.jpg": encoded(n) for n in range(400)})
    frames = []
    for number, batch in enumerate(sandbox.frames_from_zip(path, 224, pack_path=tmp_path / "pack", batch=16)):
        frames += batch
        if number == 2:
            child = sandbox.pid
            assert child is not None
            os.kill(child, signal.SIGKILL)
    assert [frame.ordinal for frame in frames] == list(range(400))
    assert all(isinstance(frame.result, Decoded) for frame in frames)
    pack = (tmp_path / "pack").read_bytes()
    assert b"".join(encoded(n) for n in range(400)) == pack


def test_the_child_dies_with_its_parent() -> None:
    program = """
        import time
        from workers.sandbox_client import Sandbox

        with Sandbox() as sandbox:
            sandbox.ping()
            print(sandbox.pid, flush=True)
            time.sleep(60)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(child)


def test_closing_ends_the_child() -> None:
    with Sandbox() as started:
        started.ping()
        child = started.pid
    assert child is not None
    assert gone(child)
    assert started.pid is None


def test_a_child_that_does_not_start_is_unavailable() -> None:
    with Sandbox(command=(sys.executable, "-c", "pass")) as broken, pytest.raises(SandboxUnavailable):
        broken.ping()


@pytest.mark.parametrize("hello", [{"type": "hello"}, {"namespace": 1, "seccomp": False}])
def test_required_isolation_is_required(hello: dict[str, Any]) -> None:
    program = f"""
        import sys
        from workers import pipe
        reader, writer = pipe.adopt_stdio()
        pipe.send(writer, {hello!r})
        pipe.receive(reader)
        pipe.send(writer, {{"type": "done"}})
    """
    command = (sys.executable, "-c", textwrap.dedent(program))
    with Sandbox(command=command) as exposed, pytest.raises(SandboxUnavailable):
        exposed.ping()
    with Sandbox(command=command, network="best-effort") as exposed:
        exposed.ping()


@pytest.mark.parametrize(
    "answer",
    [
        {"type": "frame"},
        {"type": "frame", "width": 1, "height": 1, "quality": {}},
        {"type": "frame", "error": "corrupt"},
        {"type": "frame", "error": "the name of a patient", "message": "m"},
        {},
        {"type": "done"},
    ],
)
def test_a_child_that_answers_nonsense_reads_no_frame(answer: dict[str, Any]) -> None:
    program = f"""
        from workers import pipe
        reader, writer = pipe.adopt_stdio()
        pipe.send(writer, {{"type": "hello", "seccomp": True}})
        while True:
            pipe.receive(reader)
            pipe.send(writer, {answer!r}, [bytes(5)])
            pipe.send(writer, {{"type": "done"}})
    """
    with Sandbox(command=(sys.executable, "-c", textwrap.dedent(program))) as taken_over:
        assert codes(taken_over.decode([encoded()], SIZE)) == ["decoder_died"]


def test_a_zip_is_read_member_by_member(sandbox: Sandbox, tmp_path: Path) -> None:
    inner = zip_of(tmp_path / "inner.zip", {"x.jpg": encoded()}).read_bytes()
    members = {"a.jpg": encoded(1), "notes.txt": b"hello", "b/c.tif": encoded(2, "TIFF"), "inner.zip": inner}
    path = zip_of(tmp_path / "a.zip", {**members, "d.png": encoded(3, "PNG")})
    (frames,) = sandbox.frames_from_zip(path, SIZE, pack_path=tmp_path / "pack")
    assert [frame.name for frame in frames] == ["a.jpg", "notes.txt", "b/c.tif", "inner.zip", "d.png"]
    assert codes([frame.result for frame in frames]) == ["", "unknown_format", "", "unknown_format", ""]
    assert [frame.media_type for frame in frames] == ["image/jpeg", None, "image/png", None, "image/png"]
    pack = (tmp_path / "pack").read_bytes()
    shown = [pack[frame.offset : frame.offset + frame.length] for frame in frames]
    assert shown[0] == encoded(1)
    assert np.array_equal(decode_frame(shown[2]), picture(2))
    assert shown[4] == encoded(3, "PNG")
    assert frames[2].size_bytes == len(encoded(2, "TIFF"))


@pytest.mark.parametrize("start", [0, 7, 10, 12])
def test_a_zip_is_read_from_any_member_on(sandbox: Sandbox, tmp_path: Path, start: int) -> None:
    path = zip_of(tmp_path / "a.zip", {f"{n}.jpg": encoded(n) for n in range(10)})
    told: list[int] = []
    batches = sandbox.frames_from_zip(
        path, SIZE, pack_path=tmp_path / "pack", batch=2, start=start, on_count=told.append
    )
    frames = [frame for batch in batches for frame in batch]
    assert [(frame.ordinal, frame.name) for frame in frames] == [(n, f"{n}.jpg") for n in range(start, 10)]
    assert set(told) == {10}
    assert (tmp_path / "pack").read_bytes() == b"".join(encoded(n) for n in range(start, 10))


@pytest.mark.parametrize("start", [0, 4, 5])
def test_a_killer_in_a_zip_fails_alone(troubled: Sandbox, tmp_path: Path, start: int) -> None:
    members = {f"{n}.jpg": encoded(n) for n in range(10)} | {"5.jpg": b"CRASH"}
    path = zip_of(tmp_path / "a.zip", members)
    frames = [
        frame
        for batch in troubled.frames_from_zip(path, SIZE, pack_path=tmp_path / "pack", batch=4, start=start)
        for frame in batch
    ]
    expected = ["", "", "", "", "", "decoder_died", "", "", "", ""]
    assert codes([frame.result for frame in frames]) == expected[start:]
    pack = (tmp_path / "pack").read_bytes()
    good = [frame for frame in frames if isinstance(frame.result, Decoded)]
    assert all(pack[f.offset : f.offset + f.length] == members[f.name] for f in good)


def test_a_reader_that_stops_early_leaves_a_working_sandbox(sandbox: Sandbox, tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {f"{n}.jpg": encoded(n) for n in range(200)})
    frames = sandbox.frames_from_zip(path, 224, pack_path=tmp_path / "pack", batch=8)
    next(frames)
    frames.close()  # type: ignore[attr-defined]  # a generator
    assert codes(sandbox.decode([encoded()], SIZE)) == [""]


def test_a_refused_archive(sandbox: Sandbox, tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {"../../a.jpg": encoded()})
    with pytest.raises(SandboxRefused) as refused:
        list(sandbox.frames_from_zip(path, SIZE, pack_path=tmp_path / "pack"))
    assert refused.value.code == "unsafe_name"
    assert sandbox.decode([encoded()], SIZE)


def test_a_tiff_becomes_a_png(sandbox: Sandbox) -> None:
    png = sandbox.to_png(encoded(4, "TIFF"))
    assert png.startswith(b"\x89PNG")
    assert np.array_equal(decode_frame(png), picture(4))
    with pytest.raises(SandboxRefused) as refused:
        sandbox.to_png(b"no picture")
    assert refused.value.code == "unknown_format"


def dataset_zip(path: Path, frames: dict[str, bytes]) -> Path:
    rows = "".join(f"{name},g{number % 3},{number % 2}\n" for number, name in enumerate(frames))
    members = {f"images/{name}": data for name, data in frames.items()}
    return zip_of(path, {"labels.csv": b"filename,group,polyp\n" + rows.encode(), **members})


def test_ingest(sandbox: Sandbox, tmp_path: Path) -> None:
    path = dataset_zip(tmp_path / "a.zip", {f"{n}.jpg": encoded(n) for n in range(6)})
    seen: list[tuple[int, int]] = []
    out = tmp_path / "out"
    out.mkdir()
    report = sandbox.ingest(
        path,
        "labels-csv",
        options={},
        out_dir=out,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert report["frames"] == 6
    assert report == json.loads((out / "report.json").read_text())
    assert seen == [(done, 6) for done in range(7)]
    with FramesDataset(out) as dataset:
        assert dataset.frame(2) == encoded(2)


def test_ingest_refuses_what_no_one_can_use(sandbox: Sandbox, tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {"a.jpg": encoded()})
    with pytest.raises(SandboxRefused) as refused:
        sandbox.ingest(path, "labels-csv", options={}, out_dir=tmp_path)
    assert (refused.value.code, refused.value.pointer) == ("no_labels_csv", "/file_ids")
    with pytest.raises(SandboxRefused) as refused:
        sandbox.ingest(path, "tarball", options={}, out_dir=tmp_path)
    assert (refused.value.code, refused.value.pointer) == ("unknown_format", "/format")


def test_ingest_goes_on_without_the_rows_that_kill(troubled: Sandbox, tmp_path: Path) -> None:
    frames = {f"{n}.jpg": encoded(n) for n in range(6)} | {"1.jpg": b"CRASH", "4.jpg": b"CRASH"}
    report = troubled.ingest(
        dataset_zip(tmp_path / "a.zip", frames), "labels-csv", options={}, out_dir=tmp_path
    )
    assert (report["frames"], report["refused"]) == (4, 2)
    assert report["problems"] == [{"code": "refused_decoder_died", "count": 2, "examples": [2, 5]}]
