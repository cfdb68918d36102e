"""What leaves the machine: folders as zips, and nothing that was not meant."""

import zipfile
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from service.client.client import Enteron
from service.client.transport import Transport
from service.client.upload import chunks, pack, parts, zip_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "frames"
    (root / "images").mkdir(parents=True)
    (root / "labels.csv").write_text("filename,polyp\n1.png,1\n")
    (root / "images" / "1.png").write_bytes(b"one")
    (root / "images" / "2.png").write_bytes(b"two")
    return root


def names(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as opened:
        return opened.namelist()


def test_a_folder_is_stored_by_relative_names_in_order(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "out.zip"
    seen: list[tuple[float, float]] = []
    made = zip_folder(folder, archive, on_files=lambda done, total: seen.append((done, total)))
    assert (made.files, made.left_out) == (3, 0)
    assert names(archive) == ["images/1.png", "images/2.png", "labels.csv"]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    with zipfile.ZipFile(archive) as opened:
        assert opened.read("images/2.png") == b"two"
        assert {entry.compress_type for entry in opened.infolist()} == {zipfile.ZIP_STORED}


def test_equal_folders_make_equal_zips(folder: Path, tmp_path: Path) -> None:
    zip_folder(folder, tmp_path / "a.zip")
    (folder / "images" / "1.png").touch()
    zip_folder(folder, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_links_and_hidden_files_stay_behind_and_are_counted(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("s")
    (folder / "link.png").symlink_to(secret / "key")
    (folder / "linked").symlink_to(secret)
    (folder / ".hidden").write_text("h")
    archive = tmp_path / "out.zip"
    made = zip_folder(folder, archive)
    assert (made.files, made.left_out) == (3, 3)
    assert all("key" not in name and "link" not in name and "hidden" not in name for name in names(archive))


def test_equal_names_of_single_files_stay_apart(tmp_path: Path) -> None:
    paths = [tmp_path / part / "1.png" for part in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(path.parent.name.encode())
    assert pack(paths, tmp_path / "out.zip") == [tmp_path / "out.zip"]
    assert names(tmp_path / "out.zip") == ["1.png", "1-1.png"]


def test_a_zip_is_never_put_into_a_zip(folder: Path, tmp_path: Path) -> None:
    zip_folder(folder, tmp_path / "frames.zip")
    image = folder / "images" / "1.png"
    packed = pack([tmp_path / "frames.zip", image], tmp_path / "out.zip")
    assert packed == [tmp_path / "frames.zip", tmp_path / "out.zip"]
    assert names(tmp_path / "out.zip") == ["1.png"]


def test_progress_of_a_stream_ends_at_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(3 << 20))
    seen: list[tuple[float, float]] = []
    sent = sum(len(chunk) for chunk in chunks(path, lambda done, total: seen.append((done, total))))
    assert sent == 3 << 20
    assert seen[-1] == (3 << 20, 3 << 20)


def test_parts_tell_their_sum(folder: Path) -> None:
    seen: list[tuple[float, float]] = []
    with ExitStack() as opened:
        files = [folder / "images" / name for name in ("1.png", "2.png")]
        made = parts(
            files, field="frames", opened=opened, on_bytes=lambda done, total: seen.append((done, total))
        )
        bodies = [file.read() for _, (_, file, _) in made]
    assert bodies == [b"one", b"two"]
    assert seen[-1] == (6, 6)
    assert [(field, name, kind) for field, (name, _, kind) in made] == [
        ("frames", "1.png", "image/png"),
        ("frames", "2.png", "image/png"),
    ]


def test_upload_declares_its_length_and_streams(folder: Path) -> None:
    requests: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        request.read()
        requests.append(request)
        return httpx.Response(201, json={"id": "f", "sha256": "", "size": 3, "media_type": "image/png"})

    client = Enteron(transport=Transport("http://enteron.test", None, transport=httpx.MockTransport(serve)))
    assert client.upload(folder / "images" / "1.png")["id"] == "f"
    assert requests[0].headers["Content-Length"] == "3"
    assert requests[0].headers["Content-Type"] == "image/png"
    assert "Transfer-Encoding" not in requests[0].headers
    assert requests[0].content == b"one"


def test_only_the_last_part_of_a_path_is_sent(folder: Path) -> None:
    bodies: list[bytes] = []

    def serve(request: httpx.Request) -> httpx.Response:
        bodies.append(request.read())
        return httpx.Response(202, json={"id": "j"})

    client = Enteron(transport=Transport("http://enteron.test", None, transport=httpx.MockTransport(serve)))
    client.analyze([folder / "images" / "1.png"], model="lesion-detector@champion")
    assert b'filename="1.png"' in bodies[0]
    assert str(folder).encode() not in bodies[0]
    assert b"lesion-detector@champion" in bodies[0]
    client.analyze([folder / "images" / "1.png"])
    assert b'name="model"' not in bodies[1]  # which model reads is then the service's choice
