"""What an operation of the runner is: a request in, an answer out, events in between. Imports no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Header = dict[str, Any]
Buffers = Sequence[bytes | bytearray | memoryview]
Answer = tuple[Mapping[str, Any], Buffers]

# How an operation says that it ended early because it was asked to.
STOPPED: Answer = ({"stopped": True}, ())


@dataclass(frozen=True)
class Request:
    """One call of a supervisor: what it asks, and the two lines back to it."""

    header: Header
    buffers: Buffers
    emit: Callable[[Header], None]
    should_stop: Callable[[], bool]


Operation = Callable[[Request], Answer]
