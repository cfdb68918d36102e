"""`python -m service.attached PARENT NICENESS MODULE [ARGUMENTS]`: run a module that ends with its parent.

The kernel sends the signal when the *thread* that started this process ends: that one has to live on.
"""

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:  # it ended before the kernel was told
        sys.exit(1)


if __name__ == "__main__":
    die_with(int(sys.argv[1]))
    os.nice(int(sys.argv[2]))
    module, sys.argv = sys.argv[3], sys.argv[3:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
