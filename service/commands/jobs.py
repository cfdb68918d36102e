"""`enteron job`: what runs, what ran, stopping it and trying it again."""

from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.connection import connect, follow
from service.commands.terminal import JsonFlag, Table, Terminal, percent

if TYPE_CHECKING:
    from service.client.resources import Job

app = typer.Typer(help="Look at jobs, follow one, cancel or retry one.", no_args_is_help=True)
JobId = Annotated[str, typer.Argument(help="Id of the job, as `enteron job list` shows it.")]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, newest first.")] = 20,
    kind: Annotated[str | None, typer.Option(help="Only jobs of this kind.")] = None,
    state: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    json_: JsonFlag = False,
) -> None:
    """The newest jobs."""
    with connect() as client:
        jobs = client.jobs(limit=limit, kind=kind, state=state)
    columns = ("id", "kind", "state", "done", "created", "error")
    Terminal(json=json_).result(
        jobs, Table(columns, [_row(job) for job in jobs], right=frozenset({3}), whole=frozenset({0}))
    )


@app.command()
def watch(job: JobId, json_: JsonFlag = False) -> None:
    """Follow a job to its end; exit code 5 when it fails."""
    terminal = Terminal(json=json_)
    with connect() as client:
        found = client.job(job)
        ended = follow(client, terminal, found, found["kind"].capitalize())
    terminal.result(ended, f"{ended['kind']} {ended['state']}")


@app.command()
def cancel(job: JobId, json_: JsonFlag = False) -> None:
    """Cancel a job; a running one stops at its next step."""
    with connect() as client:
        cancelled = client.cancel(job)
    running = cancelled["state"] == "running"
    Terminal(json=json_).result(cancelled, "It stops at its next step." if running else cancelled["state"])


@app.command()
def retry(job: JobId, json_: JsonFlag = False) -> None:
    """Run a failed or cancelled job again, as a new job; an analysis goes on where it ended."""
    with connect() as client:
        submitted = client.retry(job)
    Terminal(json=json_).result(submitted, f"Job {submitted['id']} runs the work again.")


def _row(job: "Job") -> tuple[str, ...]:
    done = percent(job["progress"]["fraction"]) if job["progress"].get("fraction") is not None else ""
    error = job["error"]["code"] if job["error"] else ""
    return (job["id"], job["kind"], job["state"], done, job["created_at"][:19].replace("T", " "), error)
