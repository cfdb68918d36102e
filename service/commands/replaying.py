"""`enteron replay`: whether an analysis, read again, comes out the same."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from service.commands.connection import connect, follow
from service.commands.problems import PROBLEM, Complaint
from service.commands.terminal import JsonFlag, Table, Terminal

_SHOWN = 10  # ordinals in a sentence


def replay(
    analysis: Annotated[str, typer.Argument(help="Id of an analysis that was read to its end.")],
    json_: JsonFlag = False,
) -> None:
    """Read an analysis again from the same stored bytes and compare every bit; exit code 1 if it differs."""
    terminal = Terminal(json=json_)
    with connect() as client:
        found = follow(client, terminal, client.replay(analysis), "Reading again")["result"] or {}
    terminal.result(found, *told(found))
    if not found["within_tolerance"]:
        raise Complaint(
            "The analysis does not come out the same.",
            "Changed bytes: restore them from a backup. Otherwise compare the engines.",
            exit_code=PROBLEM,
            code="replay_differs",
        )


def told(found: Mapping[str, Any]) -> list[Table | str]:
    rows = [
        ("frames", str(found["frames"])),
        ("findings", str(found["findings"])),
        ("identical", "yes, to the last bit" if found["identical"] else "no"),
        ("largest difference", f"{found['largest_difference']:.2g} of {found['tolerance']:g} allowed"),
        ("in a heat map", f"{found['largest_map_difference']:.2g} logits"),
        ("engine", engine(found["engine"])),
        ("first read by", "; ".join(engine(each) for each in found["recorded_engines"])),
    ]
    changed = _named(found, "changed", "Other bytes than were read")
    return [Table(("", ""), rows), *changed, *_named(found, "differing", "Other answers")]


def engine(described: Mapping[str, Any] | None) -> str:
    if described is None:
        return "not recorded"
    names = ("engine", "build", "dtype", "device", "processor")
    return ", ".join([*(str(described[name]) for name in names), f"{described['threads']} threads"])


def _named(found: Mapping[str, Any], which: str, said: str) -> list[Table | str]:
    """Numbers count from 1, as on the page."""
    if not found[which]:
        return []
    named = ", ".join(str(ordinal + 1) for ordinal in found[which][:_SHOWN])
    more = found[f"{which}_frames"] - len(found[which][:_SHOWN])
    return [f"{said}: frame {named}" + (f" and {more} more" if more > 0 else "")]
