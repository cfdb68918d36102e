"""Where a local installation answers, and its key: `cli.json` in its folder, for its owner alone."""

import json
import os
from pathlib import Path


def saved_access(home: Path) -> dict[str, str]:
    """`url`, while it runs, and `key`; nothing where there is no installation."""
    try:
        saved: dict[str, str] = json.loads((home / "cli.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return saved


def save_access(home: Path, **access: str) -> None:
    path = home / "cli.json"
    draft = path.with_suffix(".new")
    with open(draft, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump(access, file)
    draft.replace(path)


def forget_address(home: Path) -> None:
    """Once it has stopped, another program may listen there, and must not be sent the key."""
    saved = saved_access(home)
    if saved.pop("url", None):
        save_access(home, **saved)
