"""What several benchmarks need of a running installation."""

import os
import platform
from typing import Any

from service.client.client import Enteron


def finished(client: Enteron, job: Any) -> Any:
    """The result of the job; one that did not succeed ends the benchmark."""
    ended = client.wait(job)
    if ended["state"] != "succeeded":
        raise RuntimeError(f"{ended['kind']} ended as {ended['state']}: {ended['error']}")
    return ended["result"]


def environment() -> dict[str, Any]:
    """Where the figures come from; a load over the number of cores tells about the neighbours."""
    return {
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
