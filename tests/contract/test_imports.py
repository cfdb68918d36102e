"""What the API's process loads: nothing that computes, nothing that talks to Redis."""

import subprocess
import sys

HEAVY = (
    "torch",
    "monai",
    "numpy",
    "scipy",
    "sklearn",
    "pandas",
    "pyarrow",
    "celery",
    "kombu",
    "redis",
    "alembic",
)
OURS = ("models", "workers", "service.dispatch")


def test_the_api_loads_none_of_the_heavy_parts():
    program = (
        "import sys\n"
        "from service.api import server\n"
        f"found = [name for name in {HEAVY + OURS!r} if name in sys.modules]\n"
        "sys.exit(', '.join(found) or 0)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_the_test_above_can_fail():
    program = "import sys, numpy\nsys.exit('numpy' if 'numpy' in sys.modules else 0)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 1
