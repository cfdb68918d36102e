"""`python -m workers.probe live|ready`: health of the worker in this container, by exit status.

Live: the supervisor has written its pulse lately; an outage of the database or the broker is no reason to
restart it. Ready: it also reaches the database, hears the broker and takes work.
"""

import json
import sys
import time
from pathlib import Path

from service import settings

PULSES = "workers"  # folder under ENTERON_HOME
SILENT_BEATS = 4


def is_well(folder: Path, question: str, *, max_age_s: float) -> bool:
    return any(_answers(pulse, question, max_age_s) for pulse in folder.glob("*.json"))


def _answers(pulse: Path, question: str, max_age_s: float) -> bool:
    try:
        age_s = time.time() - pulse.stat().st_mtime
        said = json.loads(pulse.read_text())
    except (OSError, ValueError):
        return False
    if age_s > max_age_s:
        return False
    return question == "live" or (said["database"] and said["broker"] and said["state"] in ("idle", "busy"))


def main(question: str) -> int:
    used = settings.load()
    folder = used.home.resolve() / PULSES
    return 0 if is_well(folder, question, max_age_s=SILENT_BEATS * used.timers.beat_s) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "live"))
