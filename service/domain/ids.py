"""UUIDv7 (RFC 9562): time-ordered ids, so that primary-key indexes grow at one end. Python 3.11 has none."""

import secrets
import time
from uuid import UUID

SYSTEM_TENANT_ID = UUID("00000000-0000-7000-8000-000000000000")  # owns shared models; readable by all
DEFAULT_TENANT_ID = UUID(
    "00000000-0000-7000-8000-000000000001"
)  # an installation for one hospital needs no other


def new_id() -> UUID:
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76  # version 7
    value = value & ~(0x3 << 62) | 0x2 << 62  # RFC variant
    return UUID(int=value)
