"""A frame and what was found in it, as JSON."""

from typing import Any, Literal
from urllib.parse import quote
from uuid import UUID

from pydantic import BaseModel

from service.api.links import Link
from service.domain.frame_errors import FRAME_ERRORS
from service.store.analyses import AnalysisRow
from service.store.tables.analyses import Finding
from service.usecases import analyses
from service.usecases.analyses import FrameView


class ModelRefBody(BaseModel):
    """A version and the hash of its weights."""

    name: str
    version: int
    id: UUID
    sha256: str


class CamBody(BaseModel):
    """Where the model looked: for positive findings.

    `grid` holds rows of evidence over the square that the frame is padded to. Of a version that pools its
    map by the mean it is a density, in log-odds that 1 % of the frame adds to the finding; of one that pools
    by log-sum-exp it is half the probability of a frame that is like this cell everywhere. The overlay draws
    what is from `floor` up, on a fixed 0 to 0.5.
    """

    overlay_url: str
    peak_xy: list[int] | None
    box_xywh: list[int] | None
    side: int
    grid: list[list[float]]
    floor: float
    kind: Literal["density", "probability"]


class FindingBody(BaseModel):
    label: str
    code: str | None
    probability: float
    positive: bool
    threshold: float
    evidence: str
    cam: CamBody | None


class FrameErrorBody(BaseModel):
    code: str
    detail: str


class FrameBody(BaseModel):
    """A frame that was read (its bytes by `sha256`, by `model`), or why it was not (`error`)."""

    ordinal: int
    name: str
    sha256: str
    model: ModelRefBody
    size: int
    width: int | None
    height: int | None
    quality: dict[str, Any] | None
    image_url: str | None
    findings: list[FindingBody]
    error: FrameErrorBody | None


def frame_body(link: Link, analysis_id: UUID, view: FrameView) -> FrameBody:
    frame = view.frame
    base = link(f"/analyses/{analysis_id}/frames/{frame.ordinal}")
    return FrameBody(
        ordinal=frame.ordinal,
        name=frame.name,
        sha256=frame.sha256,
        model=model_ref(view.analysis),
        size=frame.size_bytes,
        width=frame.width_px,
        height=frame.height_px,
        quality=frame.quality,
        image_url=None if frame.object_key is None else f"{base}/image",
        findings=[_finding(base, finding, view) for finding in view.findings],
        error=None if frame.error_code is None else _error(frame.error_code),
    )


def model_ref(row: AnalysisRow) -> ModelRefBody:
    return ModelRefBody(
        name=row.model_name, version=row.model_version, id=row.model_version_id, sha256=row.weights_sha256
    )


def _finding(base: str, finding: Finding, view: FrameView) -> FindingBody:
    return FindingBody(
        label=finding.label,
        code=finding.code,
        probability=finding.probability,
        positive=finding.positive,
        threshold=finding.threshold,
        evidence=finding.evidence,
        cam=_cam(base, finding, view) if finding.positive else None,
    )


def _cam(base: str, finding: Finding, view: FrameView) -> CamBody:
    heat = analyses.heat(finding, view.analysis.spec)
    return CamBody(
        overlay_url=f"{base}/overlay?label={quote(finding.label, safe='')}",
        peak_xy=finding.peak_xy,
        box_xywh=finding.box_xywh,
        side=finding.cam_side,
        grid=[[round(density, 4) for density in row] for row in heat.densities],
        floor=round(heat.floor, 4),
        kind=heat.kind,
    )


def _error(code: str) -> FrameErrorBody:
    return FrameErrorBody(code=code, detail=FRAME_ERRORS[code])
