"""From frames to readings: decoded in the sandbox, read in the runner, put together as what is stored.

Shape suffixes: B frames, K labels, h w map grid.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.domain.imaging import FrameReading, LabelReading, ReadBy, StoredBytes
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


@dataclass(frozen=True)
class Call:
    """One call of the runner: `frames` by their places among `size`; black ones stand at all others."""

    size: int
    frames: dict[int, Frame]


@dataclass(frozen=True)
class Answer:
    findings: tuple[LabelReading, ...] = ()
    read_by: ReadBy | None = None


def read(runner: RunnerClient, model: LocalModel, frames: Sequence[Frame]) -> list[FrameReading]:
    """One reading per frame, in order; a frame that was not decoded carries its code and no findings."""
    legible = [frame for frame in frames if isinstance(frame.decoded, Decoded)]
    chunks = (legible[start : start + FRAMES_PER_PASS] for start in range(0, len(legible), FRAMES_PER_PASS))
    return _read(runner, model, frames, [Call(len(chunk), dict(enumerate(chunk))) for chunk in chunks])


def read_again(
    runner: RunnerClient, model: LocalModel, frames: Sequence[Frame], recorded: Mapping[int, ReadBy | None]
) -> list[FrameReading]:
    """As `read`, each frame in a call of the size and at the place that stand recorded for its ordinal."""
    calls: list[Call] = []
    for frame in frames:
        if not isinstance(frame.decoded, Decoded):
            continue
        by = recorded.get(frame.ordinal)
        size, place = (by.call_frames, by.call_place) if by else (1, 0)
        if not calls or calls[-1].size != size or place in calls[-1].frames:
            calls.append(Call(size, {}))
        calls[-1].frames[place] = frame
    return _read(runner, model, frames, calls)


def _read(
    runner: RunnerClient, model: LocalModel, frames: Sequence[Frame], calls: Sequence[Call]
) -> list[FrameReading]:
    answers: dict[int, Answer] = {}
    for call in calls:
        found = _predict(runner, model, call)
        answers |= {id(frame): found[place] for place, frame in call.frames.items()}
    return [_reading(frame, answers.get(id(frame), Answer())) for frame in frames]


def summary(readings: Sequence[FrameReading], model: LocalModel) -> dict[str, Any]:
    """Counts of frames, of unreadable ones, and of positive ones per label."""
    positives = dict.fromkeys(model.label_names, 0)
    for reading in readings:
        for finding in reading.findings:
            positives[finding.label] += finding.positive
    unreadable = sum(reading.error_code is not None for reading in readings)
    return {"frames": len(readings), "unreadable": unreadable, "positives": positives}


def _predict(runner: RunnerClient, model: LocalModel, call: Call) -> dict[int, Answer]:
    """Answers by place."""
    frames = call.frames
    decoded = [_decoded(frames[place]) if place in frames else _black(model) for place in range(call.size)]
    header = {"model": model.header(), "sizes_px": [[item.width, item.height] for item in decoded]}
    answer, (scores, probabilities, maps) = runner.call(
        "predict", header, [b"".join(item.pixels for item in decoded)]
    )
    shape = (call.size, len(answer["labels"]))
    scores_BK = np.frombuffer(scores, np.float32).reshape(shape)
    probabilities_BK = np.frombuffer(probabilities, np.float32).reshape(shape)
    maps_BKhw = np.frombuffer(maps, np.float16).reshape(*shape, answer["cam_side"], answer["cam_side"])

    def finding(b: int, k: int) -> LabelReading:
        label = model.spec["labels"][k]
        # In the precision of the probability, as the version was measured and as both are stored.
        threshold = float(np.float32(frames[b].thresholds[label["name"]]))
        probability = float(probabilities_BK[b, k])
        positive = threshold < LABEL_OFF and probability >= threshold
        place = answer["places"][b][k] if positive else {}
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
            peak_xy=_numbers(place.get("peak_xy")),
            box_xywh=_numbers(place.get("box_xywh")),
        )

    return {
        b: Answer(tuple(finding(b, k) for k in range(shape[1])), ReadBy(answer["engine"], call.size, b))
        for b in frames
    }


def _numbers(given: Sequence[int] | None) -> Any:
    return None if given is None else tuple(given)


def _decoded(frame: Frame) -> Decoded:
    assert isinstance(frame.decoded, Decoded)  # noqa: S101 - for the type checker: calls hold no others
    return frame.decoded


def _black(model: LocalModel) -> Decoded:
    return Decoded(bytearray(3 * model.size_px**2), model.size_px, model.size_px, {})


def _reading(frame: Frame, answer: Answer) -> FrameReading:
    known: dict[str, Any] = {
        name: getattr(frame, name)
        for name in ("ordinal", "name", "sha256", "size_bytes", "media_type", "stored")
    }
    match frame.decoded:
        case Refused(code, _):
            return FrameReading(**known, error_code=code)
        case Decoded(_, width, height, quality):
            return FrameReading(
                **known, width_px=width, height_px=height, quality=dict(quality), **vars(answer)
            )
