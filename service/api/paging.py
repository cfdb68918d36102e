"""Lists in pages: a fixed order, and a cursor that names the last item of the page before."""

from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel

from service.domain.errors import FieldError, InvalidInput

Row = TypeVar("Row")
Item = TypeVar("Item")

Limit = Annotated[int, Query(ge=1, le=200, description="Items of a page.")]
Cursor = Annotated[str | None, Query(max_length=100, description="`next_cursor` of the page before.")]
_LARGEST = 2**63 - 1
_POINTER = "/query/cursor"


class Page(BaseModel, Generic[Item]):
    items: list[Item]
    next_cursor: str | None


def page(
    rows: Sequence[Row], limit: int, *, item: Callable[[Row], Item], cursor: Callable[[Row], object]
) -> Page[Item]:
    """From one row more than asked for, which tells whether there is a next page."""
    shown = rows[:limit]
    more = len(rows) > limit
    return Page(items=[item(row) for row in shown], next_cursor=str(cursor(shown[-1])) if more else None)


def uuid_cursor(cursor: str | None) -> UUID | None:
    try:
        return None if cursor is None else UUID(cursor)
    except ValueError:
        raise _not_ours() from None


def number_cursor(cursor: str | None, *, pointer: str = _POINTER) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit()) or int(cursor) > _LARGEST:
        raise _not_ours(pointer)
    return int(cursor)


def name_cursor(cursor: str | None) -> str | None:
    if cursor is not None and not cursor.isprintable():
        raise _not_ours()
    return cursor


def _not_ours(pointer: str = _POINTER) -> InvalidInput:
    return InvalidInput(
        "The cursor is not one of ours.",
        code="invalid_cursor",
        errors=[FieldError(pointer, "send it as it came from us")],
    )
