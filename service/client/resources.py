"""The resources of the API as typed dictionaries: what the service sends is what the caller gets."""

from typing import Any, Literal, TypedDict

JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
FINAL: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})


class Progress(TypedDict):
    fraction: float | None
    done: int | None
    total: int | None
    unit: str | None
    message: str | None
    eta_s: float | None


class JobError(TypedDict):
    code: str
    title: str
    detail: str


class Job(TypedDict):
    id: str
    kind: str
    queue: str
    state: JobState
    progress: Progress
    attempts: int
    created_at: str
    started_at: str | None
    finished_at: str | None
    error: JobError | None
    result: dict[str, Any] | None
    links: dict[str, str]


class File(TypedDict):
    id: str
    sha256: str
    size: int
    media_type: str


class Dataset(TypedDict):
    id: str
    name: str
    version: int
    kind: str
    format: str
    state: Literal["ingesting", "ready", "refused"]
    fingerprint: str | None
    report: dict[str, Any] | None
    created_at: str
    job_id: str | None


class ModelVersion(TypedDict):
    id: str
    name: str
    version: int
    task: str
    labels: list[Any]
    operating_points: dict[str, Any]
    default_operating_point: str
    metrics: dict[str, Any]
    dataset_fingerprint: str | None
    sha256: str
    size: int
    created_at: str
    intended_use: str
    limitations: Any
    evidence: str


class Model(TypedDict):
    name: str
    versions: list[ModelVersion]
    aliases: dict[str, int]
    created_at: str


class Analysis(TypedDict):
    id: str
    job: Job
    model: dict[str, Any]
    engines: list[dict[str, Any]]
    operating_point: str
    created_at: str
    frame_count: int
    counts: dict[str, Any]
    links: dict[str, str]
