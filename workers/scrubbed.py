"""The environment of child processes: what they need to run, and no secret of their parent."""

from collections.abc import Mapping

# An allow-list: a variable nobody has thought of yet (a password, a token) stays with the parent.
_KEPT = frozenset(
    {
        "PATH",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "TZ",
        "TMPDIR",
        "VIRTUAL_ENV",
        "LD_LIBRARY_PATH",
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "CUDA_VISIBLE_DEVICES",
        "CUDA_DEVICE_ORDER",
        "NVIDIA_VISIBLE_DEVICES",
        "NVIDIA_DRIVER_CAPABILITIES",
    }
)


def child_environment(environment: Mapping[str, str], **extra: str) -> dict[str, str]:
    """The part of `environment` that children get, and `extra` over it."""
    return {name: value for name, value in environment.items() if name in _KEPT} | extra
