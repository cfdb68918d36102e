"""Stored bytes: from a request's drafts to rows, and never one without the other."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from service.domain import media
from service.domain.access import Principal
from service.domain.errors import FieldError, InvalidInput, NotFound, Unsupported
from service.domain.ids import new_id
from service.store import audit
from service.store import files as store
from service.store.files import FileRow, NewFile
from service.store.objects import Draft, ObjectStore, file_key


@dataclass
class Incoming:
    """One file of a request, still without a row."""

    id: UUID
    key: str
    draft: Draft
    head: bytes = b""

    def write(self, chunk: bytes) -> None:
        if len(self.head) < media.HEAD_BYTES:
            self.head = (self.head + chunk)[: media.HEAD_BYTES]
        self.draft.write(chunk)

    @property
    def media_type(self) -> str:
        return media.sniff(self.head)

    def described(self) -> NewFile:
        return NewFile(self.id, self.key, self.draft.sha256, self.draft.size_bytes, self.media_type)


class Uploads:
    """The objects of one request: kept when the rows that name them may be committed, removed otherwise."""

    def __init__(self, objects: ObjectStore, principal: Principal) -> None:
        self._objects, self._principal = objects, principal
        self._files: list[Incoming] = []
        self._kept = False

    def open(self) -> Incoming:
        file_id = new_id()
        key = file_key(self._principal.tenant_id, file_id)
        incoming = Incoming(file_id, key, self._objects.draft(key))
        self._files.append(incoming)
        return incoming

    def publish(self) -> None:
        """Make them durable; before the transaction, for a big file may take seconds."""
        for file in self._files:
            file.draft.commit()

    def keep(self) -> None:
        """Last step before the commit: whether a commit that broke off took place, nobody knows."""
        self._kept = True

    def discard_unless_kept(self) -> None:
        if not self._kept:
            for file in self._files:
                file.draft.discard()


@contextmanager
def uploads(objects: ObjectStore, principal: Principal) -> Iterator[Uploads]:
    """Uploads that leave nothing behind when the block does not come to `keep`."""
    opened = Uploads(objects, principal)
    try:
        yield opened
    finally:
        opened.discard_unless_kept()


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
            f"The file at {pointer} is {media.describe(file.head)}. JPEG, PNG, TIFF and zip are read."
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
