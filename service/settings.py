"""Every setting, from `ENTERON_*` variables. Only composition roots load them; all else receives values."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.domain.errors import FieldError, InvalidInput
from service.domain.jobs import Timers

PREFIX = "ENTERON_"
MIB = 1 << 20

# Which database role each command connects as.
Role = Literal["owner", "api", "worker", "dispatcher", "auditor"]

# The names of `models.imaging.engines.kinds.KINDS`, which this package must not import.
Engine = Literal[
    "spec",
    "auto",
    "torch-fp32",
    "torch-bf16",
    "torch-folded-fp32",
    "torch-folded-bf16",
    "torch-compiled-fp32",
    "torch-compiled-bf16",
    "openvino-fp32",
    "openvino-bf16",
]


class Limits(BaseSettings):
    """What is refused before it is parsed. Bytes unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    max_json_bytes: int = Field(default=1 * MIB, description="A JSON body.")
    max_multipart_bytes: int = Field(default=64 * MIB, description="A multipart body, all parts together.")
    max_multipart_parts: int = Field(default=1_000, description="Parts of a multipart body.")
    max_file_bytes: int = Field(default=16 << 30, description="A raw streamed upload.")
    max_frame_bytes: int = Field(default=16 * MIB, description="One image.")
    max_queued_jobs: int = Field(default=10_000, description="Per tenant; more answers 429.")


class Settings(BaseSettings):
    """One installation. With no URL set, everything runs on the embedded servers under `home`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    home: Path = Field(default=Path(".enteron"), description="Data, logs and caches; private to its owner.")
    database_url: str | None = Field(
        default=None, description="Without user and password; unset: the embedded PostgreSQL."
    )
    database_password_file: Path | None = Field(
        default=None, description="Password of the role that the command connects as."
    )
    role_passwords_dir: Path | None = Field(
        default=None,
        description="For `enteron bootstrap`: one file per role, `owner_password`, `api_password` ...",
    )
    redis_url: str | None = Field(default=None, description="Without password; unset: the embedded Redis.")
    redis_password_file: Path | None = Field(default=None, description="Password of Redis, if it wants one.")
    object_store_url: str | None = Field(default=None, description="file:///..., s3://bucket/prefix, ...")
    key_pepper_file: Path | None = Field(default=None, description="Secret that keys the hashes of API keys.")

    api_host: str = Field(default="127.0.0.1", description="Address the API listens on.")
    api_port: int = Field(default=8400, description="Port the API listens on.")
    root_path: str = Field(
        default="", pattern=r"^(/[A-Za-z0-9._~-]+)*$", description="Path prefix when a proxy strips one."
    )
    api_threads: int = Field(default=16, description="Requests handled at once; also the connections kept.")

    worker_queues: str = Field(default="interactive,batch,train,ehr", description="Queues a worker serves.")
    worker_batch_size: int = Field(default=32, description="Jobs one claim may take, interactive queue.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where models run; auto takes CUDA where there is one."
    )
    engine: Engine = Field(
        default="spec",
        description="What reads frames: what the version's spec says, auto (the fastest here), or an engine.",
    )
    sandbox_network: Literal["required", "best-effort"] = Field(
        default="best-effort", description="Whether to refuse a decoder that could reach a network."
    )
    allow_fault_injection: bool = Field(default=False, description="Lets selftest jobs crash on purpose.")

    lease_s: float = Field(default=30.0, description="How long a worker may be silent and keep its job.")
    reap_every_s: float = Field(default=5.0, description="How often silent workers are looked for.")
    redispatch_s: float = Field(default=30.0, description="When a job nobody claimed is sent again.")
    housekeep_every_s: float = Field(
        default=3600.0, description="How often expired answers and objects that no row names are removed."
    )
    cancel_grace_s: float = Field(default=5.0, description="Time a cancelled job has to stop by itself.")
    drain_grace_s: float = Field(default=20.0, description="Less than the time between SIGTERM and SIGKILL.")

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug also shows what libraries print in the runner."
    )

    @property
    def timers(self) -> Timers:
        return Timers(
            lease_s=self.lease_s,
            reap_every_s=self.reap_every_s,
            redispatch_s=self.redispatch_s,
            cancel_grace_s=self.cancel_grace_s,
            drain_grace_s=self.drain_grace_s,
        )

    @property
    def embedded(self) -> bool:
        return self.database_url is None


# Read by the test-suite and the command line, not by the service.
NOT_OURS = {"ENTERON_TEST_DATA", "ENTERON_API_URL", "ENTERON_API_KEY"}


def refuse_unknown_variables() -> None:
    """pydantic ignores a misspelt variable in silence; an operator must not."""
    known = {PREFIX + name.upper() for name in (*Settings.model_fields, *Limits.model_fields)} | NOT_OURS
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise InvalidInput(
            f"Unknown settings: {', '.join(unknown)}. Correct the spelling or unset them.",
            code="unknown_setting",
            errors=[FieldError(name, "unknown") for name in unknown],
        )


@lru_cache(maxsize=1)
def load() -> Settings:
    refuse_unknown_variables()
    return Settings()


@lru_cache(maxsize=1)
def load_limits() -> Limits:
    return Limits()
