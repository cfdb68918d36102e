"""What this worker's runner can build and, if it is to train, train and on what, for the table `worker`."""

from models import recipes
from models.artifacts import MODULE_BUILDERS
from models.backbones import build
from workers.operations import Answer, Request


def catalogue(request: Request) -> Answer:
    """Describing every network takes a second, for which nobody who waits for a reading should wait."""
    builders = {"builders": sorted(MODULE_BUILDERS)}
    if not request.header["trains"]:
        return builders, ()
    return builders | {"backbones": build.catalogue(), "recipes": recipes.catalogue()}, ()
