"""The client every command uses, and the one way to follow a job to its end."""

from typing import TYPE_CHECKING

from service.commands.terminal import Terminal

if TYPE_CHECKING:
    from service.client.client import Enteron
    from service.client.resources import Job


def connect() -> "Enteron":
    from service.client.client import Enteron
    from service.settings import refuse_unknown_variables

    refuse_unknown_variables()
    return Enteron.from_environment()


def follow(client: "Enteron", terminal: Terminal, job: "Job", what: str) -> "Job":
    """Show a job's progress until it has succeeded."""
    with terminal.job_progress(what) as report:
        return client.wait(job, report)
