"""Models, versions and promotions as JSON, and the requests that move aliases."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from service.api.links import Link
from service.domain.registry import weakest_evidence
from service.store.registry import VersionRow
from service.usecases.registry import ModelView, PromotionView


class VersionBody(BaseModel):
    id: UUID
    name: str
    version: int
    task: str
    labels: list[dict[str, Any]]
    operating_points: dict[str, Any]
    default_operating_point: str
    metrics: dict[str, Any]
    dataset_fingerprint: str | None
    sha256: str
    size: int
    created_at: datetime
    intended_use: str
    limitations: str
    evidence: Literal["real", "synthetic", "none"]
    links: dict[str, str]


class ModelBody(BaseModel):
    name: str
    versions: list[VersionBody]
    aliases: dict[str, int]
    created_at: datetime


class CardBody(BaseModel):
    """Everything that is known of a version: its whole spec, where it came from, which aliases name it."""

    version: VersionBody
    spec: dict[str, Any]
    code_version: str
    dataset_id: UUID | None
    job_id: UUID | None
    aliases: list[str]


class EvaluationEntry(BaseModel):
    """One later measurement on a dataset."""

    job_id: UUID
    dataset_id: UUID
    metrics: dict[str, Any]
    finished_at: datetime | None


class EvaluationBody(BaseModel):
    """The measures of the training itself, and later ones on other datasets, newest first."""

    metrics: dict[str, Any]
    dataset_fingerprint: str | None
    evaluations: list[EvaluationEntry]


class EvaluationRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    dataset_id: UUID


class PromotionRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: int = Field(strict=True, ge=1, le=2**31 - 1)
    reason: str = Field(min_length=3, max_length=1_000)
    force: bool = Field(
        strict=True, default=False, description="Even if it is worse than the champion; that is kept too."
    )


class RollbackRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=3, max_length=1_000)


class PromotionBody(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    alias: str
    action: Literal["promote", "rollback"]
    from_version: int | None
    to_version: int
    principal_id: UUID
    reason: str
    forced: bool
    comparison: dict[str, Any] | None
    at: datetime


def model_body(link: Link, view: ModelView) -> ModelBody:
    return ModelBody(
        name=view.row.name,
        versions=[version_body(link, version) for version in view.versions],
        aliases=dict(view.aliases),
        created_at=view.row.created_at,
    )


def version_body(link: Link, row: VersionRow) -> VersionBody:
    spec = row.spec
    own = link(f"/models/{row.name}/versions/{row.version}")
    return VersionBody.model_validate(
        {
            **{field: spec[field] for field in ("labels", "operating_points", "default_operating_point")},
            **{field: spec[field] for field in ("intended_use", "limitations")},
            "id": row.id,
            "name": row.name,
            "version": row.version,
            "task": row.task,
            "metrics": row.metrics,
            "dataset_fingerprint": row.dataset_fingerprint,
            "sha256": row.weights_sha256,
            "size": row.weights_bytes,
            "created_at": row.created_at,
            "evidence": weakest_evidence(spec),
            "links": {"self": own, **{name: f"{own}/{name}" for name in ("card", "evaluation", "export")}},
        }
    )


def promotion_body(view: PromotionView) -> PromotionBody:
    return PromotionBody.model_validate(view)
