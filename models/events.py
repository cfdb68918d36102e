"""What long work reports while it runs; the caller decides where it goes."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Progress:
    """So much of so much is done; `message_code` is from a closed list, never free text."""

    done: int
    total: int
    unit: str
    message_code: str


@dataclass(frozen=True)
class Metric:
    """One point of a series."""

    name: str
    step: int
    value: float


@dataclass(frozen=True)
class CheckpointWritten:
    """A verified place to resume from."""

    path: Path
    step: int


Event = Progress | Metric | CheckpointWritten
