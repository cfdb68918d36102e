"""`python -m workers --queues interactive,batch`: one worker slot.

The runner takes longest to get ready, so it starts before this process imports what it needs itself.
"""

import argparse
import sys

from service import settings as service_settings
from workers.runner_client import RunnerProcess, Runners


def main() -> int:
    arguments = _parse()
    settings = service_settings.load()
    runners = Runners(
        lambda: RunnerProcess(
            warm=not arguments.cold,
            show_stderr=settings.log_level == "debug",
            compiled=settings.home.resolve() / "cache" / "compiled",
        )
    )
    runners.start_ahead()
    try:
        from workers import supervisor  # noqa: PLC0415 - the runner imports meanwhile

        return supervisor.run(settings, runners, queues=arguments.queues, cold=arguments.cold)
    finally:
        runners.close()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    parser.add_argument("--queues", help="comma-separated; the setting WORKER_QUEUES if not given")
    parser.add_argument("--cold", action="store_true", help="import the models only when first needed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
