"""What a model said about one frame, in the words that are stored; no arrays, no rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class LabelReading:
    """One label of one frame.

    `cam` holds float16 rows of `cam_side` x `cam_side` in logit units; point and box are pixels of the frame.
    """

    label: str
    code: str | None
    score: float
    probability: float
    positive: bool
    threshold: float
    evidence: str
    cam: bytes
    cam_side: int
    peak_xy: tuple[int, int] | None = None
    box_xywh: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class StoredBytes:
    """Where bytes that a browser can show lie: an object, or a part of one."""

    object_key: str
    offset: int
    length: int


@dataclass(frozen=True)
class ReadBy:
    """What read a frame, and the call it was read in.

    The size of a call moves the last bits of an answer, the other frames in it do not: from size and place
    the call can be made again.
    """

    engine: Mapping[str, Any]
    call_frames: int
    call_place: int


@dataclass(frozen=True)
class FrameReading:
    """One frame as it was read, or why it could not be (`error_code`)."""

    ordinal: int
    name: str
    sha256: str
    size_bytes: int
    media_type: str | None
    stored: StoredBytes | None
    width_px: int | None = None
    height_px: int | None = None
    quality: dict[str, Any] | None = None
    read_by: ReadBy | None = None
    error_code: str | None = None
    findings: tuple[LabelReading, ...] = field(default=())
