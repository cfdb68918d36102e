"""Who may do what: roles, permissions, and the principal a request acts as. Deny by default."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class Role(StrEnum):
    CLINICIAN = "clinician"
    ANALYST = "analyst"
    ENGINEER = "engineer"
    OPS = "ops"
    ADMIN = "admin"


class Permission(StrEnum):
    FRAMES_READ = "frames:read"  # analyses and their images: PHI
    FRAMES_WRITE = "frames:write"
    FILES_WRITE = "files:write"
    FILES_READ = "files:read"
    DATASETS_READ = "datasets:read"
    DATASETS_WRITE = "datasets:write"
    TRAIN = "models:train"
    MODELS_READ = "models:read"
    MODELS_PROMOTE = "models:promote"
    PREDICT = "predictions:write"
    JOBS_OWN = "jobs:own"  # see, cancel and retry one's own jobs
    JOBS_ALL = "jobs:all"  # ... everybody's of the tenant; job rows hold no PHI
    WORKERS_READ = "workers:read"
    KEYS_WRITE = "keys:write"
    AUDIT_READ = "audit:read"
    SELF = "self"  # any authenticated principal


_EVERYBODY = frozenset({Permission.SELF, Permission.JOBS_OWN, Permission.MODELS_READ})

GRANTS: dict[Role, frozenset[Permission]] = {
    Role.CLINICIAN: _EVERYBODY
    | {
        Permission.FRAMES_READ,
        Permission.FRAMES_WRITE,
        Permission.FILES_READ,
        Permission.FILES_WRITE,
        Permission.PREDICT,
    },
    Role.ANALYST: _EVERYBODY
    | {
        Permission.DATASETS_READ,
        Permission.DATASETS_WRITE,
        Permission.FILES_READ,
        Permission.FILES_WRITE,
        Permission.PREDICT,
    },
    Role.ENGINEER: _EVERYBODY
    | {
        Permission.DATASETS_READ,
        Permission.DATASETS_WRITE,
        Permission.FILES_READ,
        Permission.FILES_WRITE,
        Permission.TRAIN,
        Permission.MODELS_PROMOTE,
        Permission.PREDICT,
    },
    Role.OPS: _EVERYBODY | {Permission.JOBS_ALL, Permission.WORKERS_READ},
    Role.ADMIN: _EVERYBODY | {Permission.JOBS_ALL, Permission.KEYS_WRITE, Permission.AUDIT_READ},
}


@dataclass(frozen=True)
class Principal:
    """Who a request acts as: fixed by the key, never by the body."""

    id: UUID
    tenant_id: UUID
    roles: frozenset[Role]

    @property
    def permissions(self) -> frozenset[Permission]:
        return frozenset().union(*(GRANTS[role] for role in self.roles))

    def may(self, permission: Permission) -> bool:
        return permission in self.permissions
