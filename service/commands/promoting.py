"""What a promotion is told when it is refused: the version beside the champion, label by label."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from service.commands.problems import Complaint
from service.commands.terminal import Table, Terminal
from service.commands.training import area, interval

if TYPE_CHECKING:
    from service.client.client import Enteron
    from service.client.resources import ModelVersion

WORSE = "worse_than_champion"


def promote(
    client: "Enteron", terminal: Terminal, version: "ModelVersion", *, reason: str, alias: str, force: bool
) -> Any:
    from service.client.errors import Refused

    name, number = version["name"], version["version"]
    try:
        return client.promote(name, number, reason=reason, alias=alias, force=force)
    except Refused as refused:
        if refused.code != WORSE:
            raise
        terminal.say(compared(client.comparison(name, number)))
        advice = "`--force` promotes it all the same; that and the reason are kept for good."
        raise Complaint(refused.detail, advice, code=WORSE) from refused


def compared(comparison: Mapping[str, Any]) -> Table:
    columns = (
        "label",
        "champion",
        "95 % interval",
        "this version",
        "95 % interval",
        "measured on",
        "verdict",
    )
    title = f"Version {comparison['version']} beside the champion, version {comparison['champion']} (AUC)"
    return Table(columns, [_row(label) for label in comparison["labels"]], title)


def _row(label: Mapping[str, Any]) -> tuple[str, ...]:
    measured = [
        said for side in ("champion", "challenger") for said in (area(label[side]), interval(label[side]))
    ]
    return (label["label"], *measured, _data(label), label["verdict"].replace("_", " "))


def _data(label: Mapping[str, Any]) -> str:
    if label["data"] is not None:
        return f"the same data set {label['data'][:12]}"
    return "different frames" if label["basis"] else ""
