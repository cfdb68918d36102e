"""What this worker's runner can train, and on what, for the table `worker`."""

from models import recipes
from models.backbones import build
from workers.operations import Answer, Request


def catalogue(_request: Request) -> Answer:
    return {"backbones": build.catalogue(), "recipes": recipes.catalogue()}, ()
