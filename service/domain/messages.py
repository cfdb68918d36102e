"""What a job may say while it runs: closed codes, so that no free text can carry a name or a value.

A code stands in `job.progress` and `job_event`; the sentence is for people.
"""

MESSAGES: dict[str, str] = {
    "checkpoint": "checkpoint kept",
    "comparing": "comparing trainings",
    "checkpoint_damaged": "a checkpoint was damaged; an older one is tried",
    "counting": "counting",
    "decoding": "decoding frames",
    "drawing": "drawing frames",
    "exporting": "writing files of the version",
    "fetching": "fetching files",
    "ingesting": "ingesting",
    "measuring": "measuring",
    "reading": "reading frames",
    "resumed": "resumed from a checkpoint",
    "saving": "saving",
    "trained": "trained",
    "training": "training",
}


def check_message(code: str) -> str:
    """An unknown code is a mistake in the caller; it must not reach the database all the same."""
    if code not in MESSAGES:
        raise ValueError("not a message code")
    return code
