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


class Limits(BaseSettings):
    """What is refused before it is parsed. Bytes unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    max_json_bytes: int = 1 * MIB
    max_multipart_bytes: int = 64 * MIB
    max_multipart_parts: int = 1_000
    max_file_bytes: int = Field(default=16 << 30, description="A raw streamed upload.")
    max_frame_bytes: int = 16 * MIB
    max_page_size: int = 200
    max_queued_jobs: int = Field(default=10_000, description="Per tenant; more answers 429.")


class Settings(BaseSettings):
    """One installation. With no URL set, everything runs on the embedded servers under `home`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    home: Path = Path(".enteron")
    database_url: str | None = Field(default=None, description="Without user and password.")
    database_password_file: Path | None = None
    role_passwords_dir: Path | None = Field(
        default=None, description="For `enteron bootstrap`: one file per role, named owner, api, worker ..."
    )
    redis_url: str | None = None
    redis_password_file: Path | None = None
    object_store_url: str | None = Field(default=None, description="file:///..., s3://bucket/prefix, ...")
    key_pepper_file: Path | None = Field(default=None, description="Secret that keys the hashes of API keys.")

    api_host: str = "127.0.0.1"
    api_port: int = 8400
    root_path: str = Field(default="", description="Path prefix when a proxy strips one.")
    api_threads: int = 16

    worker_queues: str = "interactive,batch,train,ehr"
    worker_batch_size: int = Field(default=32, description="Jobs one claim may take, interactive queue.")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    sandbox_network: Literal["required", "best-effort"] = "best-effort"
    allow_fault_injection: bool = Field(default=False, description="Lets selftest jobs crash on purpose.")

    lease_s: float = 30.0
    reap_every_s: float = 5.0
    redispatch_s: float = 30.0
    cancel_grace_s: float = 5.0
    drain_grace_s: float = Field(default=20.0, description="Less than the time between SIGTERM and SIGKILL.")

    log_level: Literal["debug", "info", "warning", "error"] = "info"

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
