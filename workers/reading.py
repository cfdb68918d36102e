"""From frames to readings: decoded in the sandbox, read in the runner, put together as what is stored.

Shape suffixes: B frames, K labels, h w map grid.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.domain.imaging import FrameReading, LabelReading, StoredBytes
from service.domain.registry import LABEL_OFF
from workers.runner_client import RunnerClient
from workers.sandbox_client import Decoded, Refused
from workers.weights import LocalModel

# One forward pass of the runner; more gains nothing on a CPU and costs memory on a GPU.
FRAMES_PER_PASS = 64


@dataclass(frozen=True)
class Frame:
    """A frame before it is read; `decoded` is what the sandbox made of it, `thresholds` what decides."""

    ordinal: int
    name: str
    sha256: str
    size_bytes: int
    media_type: str | None
    stored: StoredBytes | None
    decoded: Decoded | Refused
    thresholds: Mapping[str, float]


def read(runner: RunnerClient, model: LocalModel, frames: Sequence[Frame]) -> list[FrameReading]:
    """One reading per frame, in order; a frame that was not decoded carries its code and no findings."""
    findings: dict[int, tuple[LabelReading, ...]] = {}
    legible = [frame for frame in frames if isinstance(frame.decoded, Decoded)]
    for start in range(0, len(legible), FRAMES_PER_PASS):
        chunk = legible[start : start + FRAMES_PER_PASS]
        answers = _predict(runner, model, chunk)
        findings |= {id(frame): answer for frame, answer in zip(chunk, answers, strict=True)}
    return [_reading(frame, findings.get(id(frame), ())) for frame in frames]


def summary(readings: Sequence[FrameReading], model: LocalModel) -> dict[str, Any]:
    """Counts of frames, of unreadable ones, and of positive ones per label."""
    positives = dict.fromkeys(model.label_names, 0)
    for reading in readings:
        for finding in reading.findings:
            positives[finding.label] += finding.positive
    unreadable = sum(reading.error_code is not None for reading in readings)
    return {"frames": len(readings), "unreadable": unreadable, "positives": positives}


def _predict(
    runner: RunnerClient, model: LocalModel, frames: Sequence[Frame]
) -> list[tuple[LabelReading, ...]]:
    decoded = [frame.decoded for frame in frames if isinstance(frame.decoded, Decoded)]
    header = {"model": model.header(), "sizes_px": [[item.width, item.height] for item in decoded]}
    answer, (scores, probabilities, maps) = runner.call(
        "predict", header, [b"".join(item.pixels for item in decoded)]
    )
    shape = (len(frames), len(answer["labels"]))
    scores_BK = np.frombuffer(scores, np.float32).reshape(shape)
    probabilities_BK = np.frombuffer(probabilities, np.float32).reshape(shape)
    maps_BKhw = np.frombuffer(maps, np.float16).reshape(*shape, answer["cam_side"], answer["cam_side"])

    def finding(b: int, k: int) -> LabelReading:
        label = model.spec["labels"][k]
        # In the precision of the probability, as the version was measured and as both are stored.
        threshold = float(np.float32(frames[b].thresholds[label["name"]]))
        probability = float(probabilities_BK[b, k])
        positive = threshold < LABEL_OFF and probability >= threshold
        place = answer["places"][b][k] if positive else {"peak_xy": None, "box_xywh": None}
        return LabelReading(
            label=label["name"],
            code=label["code"],
            score=float(scores_BK[b, k]),
            probability=probability,
            positive=positive,
            threshold=threshold,
            evidence=label["evidence"],
            cam=maps_BKhw[b, k].tobytes(),
            cam_side=answer["cam_side"],
            **place,
        )

    return [tuple(finding(b, k) for k in range(shape[1])) for b in range(shape[0])]


def _reading(frame: Frame, findings: tuple[LabelReading, ...]) -> FrameReading:
    known: dict[str, Any] = {
        name: getattr(frame, name)
        for name in ("ordinal", "name", "sha256", "size_bytes", "media_type", "stored")
    }
    match frame.decoded:
        case Refused(code, _):
            return FrameReading(**known, error_code=code)
        case Decoded(_, width, height, quality):
            return FrameReading(
                **known, width_px=width, height_px=height, quality=dict(quality), findings=findings
            )
