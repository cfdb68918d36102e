"""What the sandbox child does to itself before it reads hostile bytes: limits, no network, no other programs.

Two layers, since a kernel or a container may refuse either: a network namespace of its own has no interfaces,
and a seccomp filter forbids making sockets at all. The second is what keeps the child from the Unix sockets
of a database on the same machine, which a namespace does not hide.
"""

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import time

MEMORY_LIMIT_BYTES = 2 << 30
DESCRIPTOR_LIMIT = 64

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC = 1, 1
_SECCOMP_SYSCALL = {"x86_64": 317, "aarch64": 277}
_SECCOMP_ALLOW, _SECCOMP_ERRNO = 0x7FFF0000, 0x00050000
_BPF_LOAD, _BPF_JUMP_EQUAL, _BPF_JUMP_AT_LEAST, _BPF_RETURN = 0x20, 0x15, 0x35, 0x06
_SYSCALL_OFFSET, _ARCH_OFFSET = 0, 4
# On x86-64 the same calls have a second set of numbers from here on, which nothing of ours uses.
_X32_FIRST = 0x40000000

# Sockets (io_uring makes them too), other programs, and reaching into other processes of the same user.
# Numbers from the kernel's syscall tables: socket, socketpair, connect, execve, execveat, ptrace, kill,
# process_vm_readv, process_vm_writev, io_uring_setup, pidfd_open; on x86-64 fork and vfork besides.
_FORBIDDEN = {
    "x86_64": (0xC000003E, (41, 53, 42, 59, 322, 101, 62, 310, 311, 425, 434, 57, 58)),
    "aarch64": (0xC00000B7, (198, 199, 203, 221, 281, 117, 129, 270, 271, 425, 434)),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def leave_network() -> bool:
    """Move into a user and network namespace of one's own; only works before the process has threads."""
    return bool(_libc().unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0)


def die_with(parent_pid: int) -> None:
    """Be killed when the parent's thread that started us ends; also if that has happened already."""
    _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def limit_resources(memory_bytes: int = MEMORY_LIMIT_BYTES) -> None:
    """Memory, descriptors, no core dump: a dump would hold pictures of patients."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTOR_LIMIT, DESCRIPTOR_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def forbid_syscalls() -> bool:
    """Install the filter for all threads; False where the machine or the kernel has none."""
    known = _FORBIDDEN.get(platform.machine())
    if known is None:
        return False
    filter_bytes = _filter(*known)
    program = _Program(len(filter_bytes) // 8, filter_bytes)
    libc = _libc()
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    operation, flags = _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC
    number = _SECCOMP_SYSCALL[platform.machine()]
    return bool(libc.syscall(number, operation, flags, ctypes.byref(program)) == 0)


def allow_cpu(seconds: int) -> None:
    """From now on this much processor time; SIGXCPU kills the process that uses more."""
    used = time.process_time()
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 1 + seconds, hard))


def _filter(architecture: int, forbidden: tuple[int, ...]) -> bytes:
    """Classic BPF: another architecture or a forbidden call gets EPERM, all else passes."""

    def step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)

    calls = len(forbidden)
    return b"".join(
        [
            step(_BPF_LOAD, _ARCH_OFFSET),
            step(_BPF_JUMP_EQUAL, architecture, 0, calls + 3),
            step(_BPF_LOAD, _SYSCALL_OFFSET),
            step(_BPF_JUMP_AT_LEAST, _X32_FIRST, calls + 1, 0),
            *(step(_BPF_JUMP_EQUAL, call, calls - n, 0) for n, call in enumerate(forbidden)),
            step(_BPF_RETURN, _SECCOMP_ALLOW),
            step(_BPF_RETURN, _SECCOMP_ERRNO | errno.EPERM),
        ]
    )


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
