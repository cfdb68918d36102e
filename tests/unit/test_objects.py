"""Objects: durable, whole or not at all, and never outside the folder."""

import contextlib
import errno
import hashlib
import os
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.errors import TooLarge, Unavailable
from service.domain.ids import new_id
from service.store import objects_folder
from service.store.objects import ObjectCorrupt, ObjectMissing, ObjectStore, file_key, job_key
from service.store.objects_bucket import BucketStore
from service.store.objects_folder import FolderStore


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path):
    return ObjectStore.from_url(tmp_path.as_uri() if request.param == "folder" else "memory:///")


def key():
    return file_key(new_id(), new_id())


def test_url_chooses_the_store(tmp_path):
    assert isinstance(ObjectStore.from_url(tmp_path.as_uri()), FolderStore)
    assert isinstance(ObjectStore.from_url("memory:///"), BucketStore)


def test_bytes_come_back_with_their_hash(store):
    data = os.urandom(3 << 20)
    name = key()
    stored = store.put_stream(name, [data[:10], data[10:]], max_bytes=len(data))
    assert (stored.sha256, stored.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert store.get(name) == data
    assert store.get_range(name, offset=7, length=11) == data[7:18]
    assert list(store.list()) == [name]


def test_empty_object_is_an_object(store):
    name = key()
    assert store.put_bytes(name, b"").size_bytes == 0
    assert store.get(name) == b""


def test_over_the_limit_leaves_nothing(store):
    with pytest.raises(TooLarge):
        store.put_stream(key(), [b"12345", b"6"], max_bytes=5)
    assert list(store.list()) == []


def test_over_the_limit_leaves_no_draft(tmp_path):
    store = FolderStore(tmp_path)
    with pytest.raises(TooLarge):
        store.put_stream(key(), [b"12345", b"6"], max_bytes=5)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_draft_is_invisible_until_commit_and_gone_after_discard(store):
    name = key()
    draft = store.draft(name)
    draft.write(b"abc")
    assert list(store.list()) == []
    draft.commit()
    assert list(store.list()) == [name]
    draft.discard()
    draft.discard()
    assert list(store.list()) == []


def test_entries_tell_when_an_object_was_written(store):
    before = datetime.now(UTC) - timedelta(seconds=2)  # file systems keep coarse times
    name = key()
    store.put_bytes(name, b"x")
    (entry,) = store.entries()
    assert entry.key == name
    assert before <= entry.modified_at <= datetime.now(UTC)


def test_list_is_by_folder_of_keys(store):
    tenant, other, job = new_id(), new_id(), new_id()
    mine = job_key(tenant, job, fence=3, sha256="0" * 64)
    store.put_bytes(mine, b"x")
    store.put_bytes(file_key(other, new_id()), b"y")
    assert list(store.list(f"{tenant}/jobs/{job}")) == [mine]
    assert list(store.list(str(tenant))) == [mine]
    assert list(store.list(str(new_id()))) == []


def test_missing_object(store):
    with pytest.raises(ObjectMissing):
        store.get(key())
    store.delete(key())


def test_fetch_checks_the_hash(store, tmp_path):
    name, path = key(), tmp_path / "fetched"
    stored = store.put_bytes(name, b"abc")
    store.fetch_to(name, path, expected_sha256=stored.sha256)
    assert path.read_bytes() == b"abc"
    with pytest.raises(ObjectCorrupt):
        store.fetch_to(name, path, expected_sha256="0" * 64)
    assert not path.exists()


def test_file_is_put_whole(store, tmp_path):
    path = tmp_path / "source"
    path.write_bytes(b"x" * (2 << 20))
    assert store.put_file(key(), path).size_bytes == 2 << 20


@pytest.mark.parametrize(
    "bad", ["../x/y", "/etc/passwd", "a/../../b", "a//b", "a/.drafts", "a/b\0", "a\\b/c d"]
)
def test_a_bad_key_never_becomes_a_path(store, bad):
    with pytest.raises(ValueError, match="key"):
        store.put_bytes(bad, b"x")


@given(name=st.text(max_size=40))
def test_no_text_escapes_the_folder(tmp_path_factory, name):
    root = tmp_path_factory.mktemp("canary")
    store = FolderStore(root / "store")
    with contextlib.suppress(ValueError, Unavailable):
        store.put_bytes(name, b"x")
    assert [path.name for path in root.iterdir()] == ["store"]


def test_full_disk_is_a_clean_refusal(tmp_path, monkeypatch):
    store = FolderStore(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(Unavailable) as refused:
        store.put_bytes(key(), b"x")
    monkeypatch.undo()
    assert refused.value.code == "storage_full"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_failed_second_put_leaves_the_first_object(tmp_path, monkeypatch):
    store, name = FolderStore(tmp_path), key()
    store.put_bytes(name, b"x")

    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(Unavailable):
        store.put_bytes(name, b"x")
    monkeypatch.undo()
    assert store.get(name) == b"x"


def test_a_folder_that_cannot_be_listed_is_an_outage(tmp_path, monkeypatch):
    store = FolderStore(tmp_path)

    def refused(*_):
        raise PermissionError(errno.EACCES, "refused")

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(Unavailable):
        list(store.entries())


def test_file_is_synced_before_its_name_and_the_folder_after(tmp_path, monkeypatch):
    store, calls, real = FolderStore(tmp_path), [], os.fsync
    name = key()
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append((store.root / name).exists()), real(fd))[1])
    store.put_bytes(name, b"x")
    assert calls[0] is False
    assert calls[-1] is True


def test_old_drafts_are_swept(tmp_path, monkeypatch):
    store = FolderStore(tmp_path)
    store.draft(key()).write(b"left by a killed process")
    assert store.sweep() == 0
    monkeypatch.setattr(objects_folder, "DRAFT_LIFE_S", -1.0)
    assert store.sweep() == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
