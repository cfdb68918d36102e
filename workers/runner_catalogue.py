"""What this worker's runner can train, on what, and build, for the table `worker`."""

from models import recipes
from models.artifacts import MODULE_BUILDERS
from models.backbones import build
from workers.operations import Answer, Request


def catalogue(_request: Request) -> Answer:
    return {
        "backbones": build.catalogue(),
        "builders": sorted(MODULE_BUILDERS),
        "recipes": recipes.catalogue(),
    }, ()
