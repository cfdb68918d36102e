"""The detector that Enteron ships, registered as a model that all tenants share.

Its files lie in `service/starter`: weights, spec and what was measured (docs/starter-model.md).
"""

import hashlib
import json
from pathlib import Path

from sqlalchemy.orm import Session

from service import connections, local
from service.domain.access import Principal
from service.domain.ids import SYSTEM_TENANT_ID, new_id
from service.domain.registry import CHAMPION, check_spec
from service.settings import Settings
from service.store import keys, registry, versions
from service.store.objects import file_key
from service.usecases import papers
from service.usecases.registry import promote

FOLDER = Path(__file__).parent / "starter"
_MAKER = "enteron"
_REASON = "shipped with Enteron"


def install(settings: Settings) -> str | None:
    """Register the shipped version unless it is there; safe to repeat.

    Returns:
        `name:version` if it was registered now.
    """
    weights = (FOLDER / "weights.safetensors").read_bytes()
    sha256 = hashlib.sha256(weights).hexdigest()
    spec = json.loads((FOLDER / "spec.json").read_bytes())
    name = str(spec["name"])
    with local.session(settings, tenant_id=SYSTEM_TENANT_ID) as session:
        if registry.has_weights(session, name, sha256):
            return None
    # Before the row that names it: bytes without a row are swept up, a row without bytes would be for good.
    key = file_key(SYSTEM_TENANT_ID, new_id())
    connections.objects(local.complete(settings, role="api")).put_bytes(key, weights)
    new = versions.NewVersion(
        name=name,
        spec=dict(check_spec(spec, name)),
        metrics=json.loads((FOLDER / "metrics.json").read_bytes()),
        weights_key=key,
        weights_sha256=sha256,
        weights_bytes=len(weights),
    )
    with local.session(settings, tenant_id=SYSTEM_TENANT_ID) as session:
        return _register(session, new)


def _register(session: Session, new: versions.NewVersion) -> str | None:
    made = versions.register(session, tenant_id=SYSTEM_TENANT_ID, new=new)
    if registry.has_weights(session, new.name, new.weights_sha256, besides=made.model_version_id):
        session.rollback()  # another process was faster, and registering takes turns
        return None
    maker = Principal(new_id(), SYSTEM_TENANT_ID, frozenset())
    keys.insert_principal(session, principal_id=maker.id, tenant_id=SYSTEM_TENANT_ID, name=_MAKER)
    # Forced: the comparison is kept, but figures never stop an installation from starting.
    promote(session, maker, new.name, CHAMPION, version=made.version, reason=_REASON, force=True)
    papers.ask(session, maker, made.model_version_id)
    return f"{made.name}:{made.version}"
