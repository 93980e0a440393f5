"""What the sandbox around it does not refuse: a filter of system calls, and limits of a process."""

from __future__ import annotations

import ctypes
import resource
import struct
from typing import Any

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
X86_64, X32 = 0xC000003E, 0x40000000  # the architecture, and the bit of the calls of another one on it
ALLOW, EPERM = 0x7FFF0000, 0x00050001
# What Landlock does not ask about: the mode, owner, times and attributes of files that a program cannot open
# but whose owner it is called; and waiting for all disks. By number, as the kernel has them on x86_64.
DENIED = (
    *(90, 91, 268, 452),  # chmod, fchmod, fchmodat, fchmodat2
    *(92, 93, 94, 260),  # chown, fchown, lchown, fchownat
    *(132, 235, 261, 280),  # utime, utimes, futimesat, utimensat
    *range(188, 200),  # setxattr, getxattr, listxattr, removexattr and their like
    *(463, 464, 465, 466, 468, 469),  # the same by a folder's descriptor; file_getattr, file_setattr
    *(133, 259),  # mknod, mknodat
    *(162, 306),  # sync, syncfs
)


def deny() -> None:
    """A second filter of system calls, for this process and all that it forks. It cannot be taken off again.

    sandlock answers some of these calls itself, and so cannot be told to refuse them; of two filters the
    stricter one decides.
    """
    count = len(DENIED)
    lines = [
        (0x20, 0, 0, 4),  # load the architecture
        (0x15, 0, count + 3, X86_64),  # another one: refuse
        (0x20, 0, 0, 0),  # load the call's number
        (0x35, count + 1, 0, X32),
        *((0x15, count - place, 0, number) for place, number in enumerate(DENIED)),
        (0x06, 0, 0, ALLOW),
        (0x06, 0, 0, EPERM),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(lines), ctypes.addressof(code)))
    if ctypes.CDLL(None).prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        raise OSError("the filter of system calls is refused")


def limit(limits: dict[str, Any]) -> None:
    cpu = max(1, int(limits["cpu_s"] + 0.999))
    memory = limits["memory_mb"] << 20
    for name, soft, hard in (
        (resource.RLIMIT_CPU, cpu, cpu + 1),
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_FSIZE, limits["disk_mb"] << 20, limits["disk_mb"] << 20),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, 64, 64),
    ):
        resource.setrlimit(name, (soft, hard))
