"""Forms, however the network cuts them: the same fields and the same bytes."""

import asyncio
import string
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from service.api.multipart import Form, Rules, read_form
from service.domain.access import Principal, Role
from service.domain.errors import InvalidInput, ServiceError, TooLarge
from service.domain.ids import new_id
from service.store.objects_folder import FolderStore
from service.usecases.files import Uploads

RULES = Rules(
    files="frames",
    fields=frozenset({"model"}),
    max_body_bytes=10_000,
    max_parts=5,
    max_file_bytes=lambda kind: 1_000 if kind == "image/jpeg" else 2_000,
)
PERSON = Principal(new_id(), new_id(), frozenset(Role))
BOUNDARY = "limit"
NAMES = st.text(string.ascii_letters + string.digits + " .-äß", min_size=1, max_size=20)


def part(name: str, data: bytes, filename: str | None = None) -> bytes:
    label = "" if filename is None else f'; filename="{filename}"'
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{label}\r\n\r\n'
    return head.encode() + data + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def read(folder, chunks: list[bytes], rules: Rules = RULES) -> tuple[Form, list[bytes], FolderStore]:
    """The form, the bytes of its files, and the store they lie in."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> dict:
        return messages.pop(0)

    headers = [(b"content-type", f"multipart/form-data; boundary={BOUNDARY}".encode())]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    store = FolderStore(folder)
    uploads = Uploads(store, PERSON)
    form = asyncio.run(read_form(request, uploads, rules))
    published = uploads.publish()
    return form, [store.get(file.object_key) for file in published], store


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@given(
    files=st.lists(st.tuples(NAMES, st.binary(max_size=300)), min_size=1, max_size=4),
    model=st.text(string.printable, max_size=30) | st.none(),
    places=st.lists(st.integers(0, 5_000), max_size=6),
)
def test_any_form_cut_anywhere_arrives_whole(tmp_path_factory, files, model, places):
    body = b"".join(part("frames", data, name) for name, data in files)
    if model is not None:
        body += part("model", model.encode())
    form, contents, _ = read(tmp_path_factory.mktemp("objects"), cut(body + END, places))
    assert contents == [data for _, data in files]
    assert [entry.name for entry in form.files] == [name for name, _ in files]
    assert form.fields == ({} if model is None else {"model": model})


@given(data=st.binary(max_size=400), places=st.lists(st.integers(0, 400), max_size=4))
def test_any_bytes_are_a_form_or_refused(tmp_path_factory, data, places):
    try:
        read(tmp_path_factory.mktemp("objects"), cut(data, places))
    except ServiceError:
        return
    assert END.rstrip() in data


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\\\Users\\\\a.jpg", "a.jpg"),
        ("a\x1b[31m.jpg", "a_[31m.jpg"),
        ("x" * 400, "x" * 255),
        ("..", ".."),
        ("", ""),
    ],
)
def test_names_lose_folders_and_controls(tmp_path, sent, kept):
    form, _, store = read(tmp_path, [part("frames", b"x", sent) + END])
    assert form.files[0].name == kept
    assert len(list(store.list())) == 1


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (part("frames", b"\xff\xd8\xff" + b"x" * 1_000, "a.jpg") + END, TooLarge),
        (part("frames", b"x" * 2_001, "a") + END, TooLarge),
        (part("frames", b"x" * 1_900, "a") * 6 + END, TooLarge),
        (part("frames", b"", "a") * 6 + END, TooLarge),
        (part("model", b"a") * 2 + END, InvalidInput),
        (part("model", b"a", "file.txt") + END, InvalidInput),
        (part("frames", b"a") + END, InvalidInput),
        (part("other", b"a") + END, InvalidInput),
        (part("model", b"\xff") + END, InvalidInput),
        (part("frames", b"a", "a"), InvalidInput),
        (b"", InvalidInput),
    ],
    ids=[
        "frame too large",
        "file too large",
        "body too large",
        "too many parts",
        "field twice",
        "file as field",
        "field as file",
        "unknown part",
        "not UTF-8",
        "no end",
        "nothing",
    ],
)
def test_refused(tmp_path, body, error):
    with pytest.raises(error):
        read(tmp_path, [body])


def test_equal_content_has_an_equal_hash(tmp_path):
    def digest(data: bytes, name: str) -> str:
        form, _, _ = read(tmp_path / name, [part("frames", data, name) + END])
        return form.sha256([entry.file.publish() for entry in form.files])

    (tmp_path / "a").mkdir()
    assert digest(b"x", "a") == digest(b"x", "a")
    assert digest(b"x", "a") != digest(b"y", "a")
    assert digest(b"x", "a") != digest(b"x", "b")
