"""The torch-free side of `enteron model convert`: starts the process that reads, and says what came of it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from service.commands.problems import Complaint

_ROOT = Path(__file__).resolve().parents[2]
_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")  # no key, no password
_TIMEOUT_S = 600
_ADVICE = {
    "no_isolation": "A machine whose kernel grants user namespaces or system-call filters can do it.",
    "not_written": "Check the target's folder, its rights and the space on its disk.",
}


def converted(source: Path, target: Path) -> dict[str, Any]:
    """What was written; raises Complaint with what was wrong with the file."""
    command = [sys.executable, "-s", "-m", "workers.convert", str(source.resolve()), str(target.resolve())]
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    try:
        done = subprocess.run(  # noqa: S603 - our own module under our own interpreter
            command, env=environment, cwd=_ROOT, capture_output=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise Complaint("Reading the file took too long.", "Look where it came from.") from None
    if done.returncode != 0:
        raise _ended(done)
    answer: dict[str, Any] = json.loads(done.stdout)
    if "refused" in answer:
        advice = _ADVICE.get(answer["refused"], "Save the network's state_dict() alone, with torch.save.")
        raise Complaint(f"The file is not converted: {answer['detail']}", advice)
    return answer


def _ended(done: "subprocess.CompletedProcess[bytes]") -> Complaint:
    if b"ModuleNotFoundError" in done.stderr:
        return Complaint("Nothing here reads weights.", "Install the extra `worker`, which brings torch.")
    return Complaint("Reading the file ended the process that did it.", "Look where the file came from.")
