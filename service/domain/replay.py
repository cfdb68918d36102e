"""A reading made again, beside the one that is stored: equal to the last bit, or how far apart.

On one engine (same code, precision, kind of processor, threads) every bit must be equal. Another engine adds
in another order: there the probabilities may differ by `ACROSS_ENGINES`. See docs/decisions/0014.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.domain.imaging import FrameReading, LabelReading

ACROSS_ENGINES = 0.02
LISTED = 100  # ordinals in a result; the counts are whole


@dataclass(frozen=True)
class Difference:
    """Between two readings of a frame: of probabilities, and of maps in logit units; the largest of each."""

    identical: bool
    probability: float = 0.0
    cam: float = 0.0


def difference(stored: FrameReading, again: FrameReading) -> Difference:
    """Readings that are not of the same labels, or of which one has none, differ by as much as can be."""
    before = {finding.label: finding for finding in stored.findings}
    after = {finding.label: finding for finding in again.findings}
    if before.keys() != after.keys() or stored.error_code != again.error_code:
        return Difference(identical=False, probability=1.0)
    pairs = [(finding, after[label]) for label, finding in before.items()]
    return Difference(
        identical=before == after,
        probability=max((abs(a.probability - b.probability) for a, b in pairs), default=0.0),
        cam=max((_between_maps(a, b) for a, b in pairs), default=0.0),
    )


def _between_maps(a: LabelReading, b: LabelReading) -> float:
    if a.cam == b.cam:
        return 0.0
    return max(abs(x - y) for x, y in zip(_cells(a), _cells(b), strict=True))


def _cells(finding: LabelReading) -> tuple[float, ...]:
    return struct.unpack(f"<{finding.cam_side**2}e", finding.cam)


@dataclass
class Replay:
    """What is found while an analysis is read again, block by block."""

    frames: int = 0
    findings: int = 0
    changed: list[int] = field(default_factory=list)  # their bytes are not those that were read
    differing: list[int] = field(default_factory=list)
    largest: float = 0.0
    largest_map: float = 0.0
    engine: Mapping[str, Any] | None = None
    recorded: list[Mapping[str, Any] | None] = field(default_factory=list)

    def add(self, stored: Sequence[FrameReading], again: Mapping[int, FrameReading]) -> None:
        """Compare stored readings with those made again, by ordinal; what is not there had other bytes."""
        for reading in stored:
            self.frames += 1
            self.findings += len(reading.findings)
            if reading.ordinal not in again:
                self.changed.append(reading.ordinal)
                continue
            self._compare(reading, again[reading.ordinal])

    def _compare(self, stored: FrameReading, again: FrameReading) -> None:
        found = difference(stored, again)
        self.largest = max(self.largest, found.probability)
        self.largest_map = max(self.largest_map, found.cam)
        if not found.identical:
            self.differing.append(stored.ordinal)
        if again.read_by is not None:
            self.engine = again.read_by.engine
            recorded = None if stored.read_by is None else stored.read_by.engine
            if recorded not in self.recorded:
                self.recorded.append(recorded)

    @property
    def tolerance(self) -> float:
        return 0.0 if all(recorded == self.engine for recorded in self.recorded) else ACROSS_ENGINES

    def result(self) -> dict[str, Any]:
        """`identical`: every byte, every bit; `within_tolerance`: every byte, as near as engines allow."""
        identical = not self.changed and not self.differing
        near = not self.changed and self.largest <= self.tolerance
        return {
            "frames": self.frames,
            "findings": self.findings,
            "identical": identical,
            "within_tolerance": identical or (near and self.tolerance > 0),
            "largest_difference": self.largest,
            "largest_map_difference": self.largest_map,
            "tolerance": self.tolerance,
            "engine": self.engine,
            "recorded_engines": self.recorded,
            "differing_frames": len(self.differing),
            "differing": self.differing[:LISTED],
            "changed_frames": len(self.changed),
            "changed": self.changed[:LISTED],
        }
