"""`enteron`: one program for the person at the machine, for scripts, and for containers."""

import json
import sys
from typing import Annotated

import typer

from service.commands import datasets, jobs, keys, machine, parts, reading, registry, replaying, training
from service.commands.problems import INTERRUPTED, as_json, describe
from service.commands.terminal import printable

app = typer.Typer(
    name="enteron",
    help="Reads capsule endoscopy on your own machines.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
HERE, CLIENT, PARTS = "On this machine", "With a running service", "One part each, as containers run them"

app.command(rich_help_panel=HERE)(machine.up)
app.command(rich_help_panel=HERE)(machine.demo)
app.command(rich_help_panel=HERE)(machine.doctor)
app.add_typer(keys.app, name="key", rich_help_panel=HERE)
app.command(rich_help_panel=CLIENT)(reading.analyze)
app.command(rich_help_panel=CLIENT)(replaying.replay)
app.command(rich_help_panel=CLIENT)(reading.predict)
app.add_typer(datasets.app, name="dataset", rich_help_panel=CLIENT)
app.command(rich_help_panel=CLIENT)(training.train)
app.add_typer(registry.app, name="model", rich_help_panel=CLIENT)
app.add_typer(jobs.app, name="job", rich_help_panel=CLIENT)
app.command(rich_help_panel=PARTS)(parts.api)
app.command(rich_help_panel=PARTS)(parts.dispatcher)
app.command(rich_help_panel=PARTS)(parts.worker)
app.command(rich_help_panel=PARTS)(parts.bootstrap)
app.command(rich_help_panel=PARTS)(parts.migrate)


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"enteron {version('enteron')}\n")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    try:
        app(prog_name="enteron")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as problem:
        described = describe(problem)
        if described is None:
            raise
        wrong, advice, exit_code = described
        if "--json" in sys.argv:
            sys.stdout.write(json.dumps(as_json(problem, wrong, advice)) + "\n")
        sys.stderr.write(f"{printable(wrong)}\n{printable(advice)}\n")
        sys.exit(exit_code)


if __name__ == "__main__":
    main()
