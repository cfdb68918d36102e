"""Stored bytes: from a request's drafts to rows, and never one without the other."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from service.domain import media
from service.domain.access import Principal
from service.domain.errors import FieldError, InvalidInput, NotFound, Unsupported
from service.domain.ids import new_id
from service.store import audit
from service.store import files as store
from service.store.files import FileRow, NewFile
from service.store.objects import Draft, ObjectStore, Stored, file_key


class Incoming:
    """One file of a request, still without a row. Small ones stay in memory until they are published."""

    def __init__(self, objects: ObjectStore, tenant_id: UUID) -> None:
        self.id = new_id()
        self.key = file_key(tenant_id, self.id)
        self.head = b""
        self.size_bytes = 0
        self._objects = objects
        self._buffer = bytearray()
        self._draft: Draft | None = None
        self._stored: Stored | None = None

    def take(self, chunk: bytes) -> None:
        if len(self.head) < media.HEAD_BYTES:
            self.head = (self.head + chunk)[: media.HEAD_BYTES]
        self._buffer += chunk
        self.size_bytes += len(chunk)

    @property
    def buffered_bytes(self) -> int:
        return len(self._buffer)

    @property
    def media_type(self) -> str:
        return media.sniff(self.head)

    @property
    def is_begun(self) -> bool:
        return self._draft is not None

    def spill(self) -> None:
        """Write what is buffered; blocks."""
        if self._draft is None:
            self._draft = self._objects.draft(self.key)
        self._draft.write(bytes(self._buffer))
        self._buffer.clear()

    def publish(self) -> NewFile:
        """Make it durable; blocks. Safe to repeat."""
        if self._stored is None:
            self.spill()
            assert self._draft is not None  # noqa: S101 - spill made it
            self._stored = self._draft.commit()
        return NewFile(self.id, self.key, self._stored.sha256, self._stored.size_bytes, self.media_type)

    def discard(self) -> None:
        if self._draft is not None:
            self._draft.discard()


class Uploads:
    """The objects of one request: kept when the rows that name them may be committed, removed otherwise."""

    def __init__(self, objects: ObjectStore, principal: Principal) -> None:
        self._objects, self._principal = objects, principal
        self._files: list[Incoming] = []
        self._kept = False

    def open(self) -> Incoming:
        self._files.append(Incoming(self._objects, self._principal.tenant_id))
        return self._files[-1]

    @property
    def buffered_bytes(self) -> int:
        return sum(file.buffered_bytes for file in self._files)

    def relieve(self) -> None:
        """Empty the buffers: all but the last file are complete."""
        for file in self._files[:-1]:
            file.publish()
        self._files[-1].spill()

    def publish(self) -> list[NewFile]:
        """Make all durable; before the transaction, for a big file may take seconds."""
        return [file.publish() for file in self._files]

    def keep(self) -> None:
        """Last step before the commit: whether a commit that broke off took place, nobody knows."""
        self._kept = True

    @property
    def has_remains(self) -> bool:
        """Whether something was written that no row may name."""
        return not self._kept and any(file.is_begun for file in self._files)

    def discard(self) -> None:
        for file in self._files:
            file.discard()


def add(session: Session, principal: Principal, file: NewFile) -> NewFile:
    """The row of a file of an accepted format."""
    store.insert_files(session, [file], tenant_id=principal.tenant_id, principal_id=principal.id)
    audit.record(
        session,
        principal,
        action=audit.Action.CREATE,
        operation="files.create",
        object_type="file",
        object_id=file.id,
    )
    return file


def refuse_unknown(file: Incoming, pointer: str) -> None:
    if file.media_type not in media.ACCEPTED:
        raise Unsupported(
            f"The file at {pointer} is {media.describe(file.head)}. JPEG, PNG, TIFF, zip and "
            "safetensors are taken."
        )


def get(session: Session, principal: Principal, file_id: UUID) -> FileRow:
    return find(session, principal, [file_id])[0]


def open_content(session: Session, principal: Principal, file_id: UUID) -> FileRow:
    """The file, on record as read: it may show a patient."""
    row = get(session, principal, file_id)
    audit.record(
        session,
        principal,
        action=audit.Action.READ,
        operation="files.content",
        object_type="file",
        object_id=file_id,
    )
    return row


def find(session: Session, principal: Principal, file_ids: Sequence[UUID]) -> list[FileRow]:
    """One's own files, in the given order; any that is missing or another's is `NotFound`."""
    found = store.find(session, file_ids, principal_id=principal.id)
    if any(file_id not in found for file_id in file_ids):
        raise NotFound("There is no such file, or it is not yours.")
    return [found[file_id] for file_id in file_ids]


def named_in_body(
    session: Session, principal: Principal, file_ids: Sequence[UUID], pointer: str
) -> list[FileRow]:
    """As `find`, for ids that stand in a body: the fault is in the input."""
    found = store.find(session, file_ids, principal_id=principal.id)
    unknown = [number for number, file_id in enumerate(file_ids) if file_id not in found]
    if unknown:
        errors = [FieldError(pointer.format(number), "no such file, or not yours") for number in unknown]
        raise InvalidInput("A file is not known.", code="unknown_file", errors=errors)
    return [found[file_id] for file_id in file_ids]
