"""Programs that must be stopped, and programs that must be judged right: data for test_attacks.py.

An escape prints ESCAPED where it could do what it tries. A forgery is judged by tests whose expected answer it
cannot know, so that it passes only where it tampers with them or reads them. Both are to fail everywhere.
"""

from __future__ import annotations

from star_engine.tasks.programs.execution import Status

UNKNOWN = "7f1c9a-not-to-be-known"  # what forgeries would have to answer

_TRY = "try:\n    {}\n    print('ESCAPED')\nexcept BaseException as problem:\n    print(type(problem).__name__)\n"
_LIBC = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nif {}:\n    print('ESCAPED')\n"


def _tries(line: str, before: str = "import os, socket, sys") -> str:
    return f"{before}\n{_TRY.format(line)}"


ESCAPES: dict[str, str] = {
    # files
    "read_passwd": _tries("open('/etc/passwd').read()"),
    "read_shadow": _tries("open('/etc/shadow').read()"),
    "read_secret": _tries("open({secret!r}).read()"),
    "read_project": _tries("open({project!r}).read()"),
    "list_root": _tries("os.listdir('/')"),
    "list_home": _tries("os.listdir('/root')"),
    "list_tmp": _tries("os.listdir('/tmp')"),
    "relative_path_out": _tries("open('../../etc/passwd').read()"),
    "symlink_out": _tries("os.symlink({secret!r}, 'link'); open('link').read()"),
    "symlink_folder_out": _tries("os.symlink('/etc', 'etc'); open('etc/passwd').read()"),
    "hard_link_out": _tries("os.link({secret!r}, 'link'); open('link').read()"),
    "chdir_out": _tries("os.chdir('/'); open('etc/passwd').read()"),
    "chroot": _tries("os.chroot('/'); open('/etc/passwd').read()"),
    "open_folder_then_beneath": _tries(
        "os.open('passwd', os.O_RDONLY, dir_fd=os.open('/etc', os.O_RDONLY | os.O_DIRECTORY))"
    ),
    "write_outside": _tries("open({outside!r}, 'w').write('x')"),
    "append_to_secret": _tries("open({secret!r}, 'a').write('x')"),
    "truncate_secret": _tries("os.truncate({secret!r}, 0)"),
    "delete_secret": _tries("os.unlink({secret!r})"),
    "rename_secret": _tries("os.rename({secret!r}, 'mine'); open('mine').read()"),
    "chmod_secret": _tries("os.chmod({secret!r}, 0o777)"),
    "chmod_beneath": _tries("os.chmod('secret', 0o777, dir_fd=os.open({folder_of_secret!r}, os.O_PATH))"),
    "chown_secret": _tries("os.chown({secret!r}, os.getuid(), os.getgid())"),
    "date_secret": _tries("os.utime({secret!r}, (1, 1))"),
    "attribute_of_secret": _tries("os.setxattr({secret!r}, 'user.star', b'1')"),
    "chmod_by_32_bit_call": "import ctypes\n"
    "libc = ctypes.CDLL(None)\nlibc.mmap.restype = ctypes.c_void_p\n"
    "page = libc.mmap(None, 4096, 7, 0x62, -1, 0)\n"
    "code = bytes.fromhex('53b80f000000bb') + (page + 512).to_bytes(4, 'little') + bytes.fromhex('b9ff010000cd805bc3')\n"
    "ctypes.memmove(page, code, len(code))\nctypes.memmove(page + 512, {secret!r}.encode() + bytes(1), len({secret!r}) + 1)\n"
    "if ctypes.CFUNCTYPE(ctypes.c_int)(page)() == 0:\n    print('ESCAPED')\n",
    "write_python": _tries("open(os.__file__, 'a').write('#')"),
    "make_device": _tries("os.mknod('sda', 0o60600, os.makedev(8, 0)); os.open('sda', os.O_RDONLY)"),
    "mount": _LIBC.format("libc.mount(b'none', b'.', b'tmpfs', 0, None) == 0"),
    # /proc, /sys, devices
    "proc_environ": _tries("open('/proc/self/environ').read()"),
    "proc_parent": _tries("open(f'/proc/{{os.getppid()}}/cmdline').read()"),
    "proc_memory": _tries("open(f'/proc/{{os.getppid()}}/mem', 'rb').read(1)"),
    "proc_root": _tries("os.listdir('/proc/1/root')"),
    "proc_descriptors": _tries("os.listdir(f'/proc/{{os.getppid()}}/fd')"),
    "proc_list": _tries("os.listdir('/proc')"),
    "sys_list": _tries("os.listdir('/sys/class')"),
    "proc_sysrq": _tries("open('/proc/sysrq-trigger', 'w').write('h')"),
    "gpu_device": "import os\nfor one in ('nvidiactl', 'nvidia0', 'dri/card0', 'kvm', 'mem', 'fuse'):\n"
    "    try:\n        os.open('/dev/' + one, os.O_RDONLY)\n        print('ESCAPED')\n    except OSError:\n        pass\n",
    # environment and descriptors
    "environment": "import os\nif any(name.startswith('STAR_') or 'PASSWORD' in name for name in os.environ):\n"
    "    print('ESCAPED')\n",
    "inherited_descriptors": "import os\nfor fd in range(3, 200):\n    try:\n        os.fstat(fd)\n"
    "        print('ESCAPED', fd)\n    except OSError:\n        pass\n",
    # sockets
    "connect": _tries("socket.create_connection(('127.0.0.1', {port}), 2)"),
    "connect_out": _tries("socket.create_connection(('1.1.1.1', 53), 2)"),
    "send_datagram": _tries(
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))"
    ),
    "raw_socket": _tries("socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).sendto(b'x', ('127.0.0.1', 0))"),
    "listen": _tries("one = socket.socket(); one.bind(('127.0.0.1', 0)); one.listen()"),
    "unix_socket": _tries("socket.socket(socket.AF_UNIX).connect({socket!r})"),
    "abstract_unix_socket": _tries("socket.socket(socket.AF_UNIX).connect({abstract!r})"),
    "netlink": _tries(
        "one = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9); one.bind((0, 0)); one.send(b'x' * 16)"
    ),
    "vsock": _tries("socket.socket(socket.AF_VSOCK).connect((2, 1))"),
    "name_lookup": _tries("socket.getaddrinfo('example.com', 80)"),
    # ptrace, signals, kernel
    "ptrace_parent": _LIBC.format("libc.ptrace(16, __import__('os').getppid(), 0, 0) == 0"),
    "read_parent_memory": "import ctypes, os\nlibc = ctypes.CDLL(None)\nbuffer = ctypes.create_string_buffer(8)\n"
    "local = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)\n"
    "remote = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)\n"
    "if libc.process_vm_readv(os.getppid(), local, 1, remote, 1, 0) >= 0:\n    print('ESCAPED')\n",
    "take_descriptor": _LIBC.format(
        "libc.syscall(438, libc.syscall(434, __import__('os').getppid(), 0), 0, 0) >= 0"
    ),
    "signal_others": "import os\nown = (os.getpid(), os.getppid())\nfor pid in (1, 2, {launcher}):\n"
    "    if pid not in own:\n        try:\n            os.kill(pid, 0)\n            print('ESCAPED', pid)\n"
    "        except OSError:\n            pass\n",
    "become_root": _tries("os.setuid(0) if os.getuid() else os.setgid(12)"),
    "user_namespace": _LIBC.format("libc.unshare(0x10000000) == 0"),
    "bpf": _LIBC.format("libc.syscall(321, 0, 0, 0) >= 0"),
    "io_uring": _LIBC.format("libc.syscall(425, 8, ctypes.create_string_buffer(256)) >= 0"),
    "keyring": _LIBC.format("libc.syscall(250, 0, -3, 1) >= 0"),
    "perf_events": _LIBC.format("libc.syscall(298, ctypes.create_string_buffer(128), -1, 0, -1, 0) >= 0"),
    "userfaultfd": _LIBC.format("libc.syscall(323, 0) >= 0"),
    "handle_to_file": _LIBC.format("libc.syscall(304, -100, ctypes.create_string_buffer(64), 0) >= 0"),
    "shared_memory_segment": _LIBC.format("libc.shmget({shm_key}, 0, 0) >= 0"),
    "raise_limits": "import resource\ntry:\n    resource.setrlimit(resource.RLIMIT_CPU, (3600, 3600))\n"
    "    print('ESCAPED')\nexcept (ValueError, OSError):\n    pass\n",
    "reboot": _LIBC.format("libc.syscall(169, 0xFEE1DEAD, 672274793, 0, 0) == 0"),
    "set_clock": _LIBC.format("libc.clock_settime(0, (ctypes.c_long * 2)(1, 0)) == 0"),
    # other programs, imports
    "run_shell": _tries("os.execv('/bin/sh', ['sh', '-c', 'cat /etc/passwd && echo ESCAPED'])"),
    "run_env": _tries("import subprocess; subprocess.run(['/usr/bin/env'], check=True)"),
    "import_site_packages": _tries("import sqlalchemy"),
    "import_project": _tries("sys.path.insert(0, {folder!r}); import app.settings"),
}

# Each must end with this status: what it costs is bounded.
BOUNDED: dict[str, tuple[Status, str]] = {
    "loop": (Status.TIMEOUT, "while True:\n    pass\n"),
    "loop_that_ignores_the_limit": (
        Status.TIMEOUT,
        "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True:\n    pass\n",
    ),
    "sleep": (Status.TIMEOUT, "import time\ntime.sleep(1000)\n"),
    "memory": (Status.MEMORY, "x = bytearray(1 << 32)\n"),
    "memory_in_steps": (Status.MEMORY, "x = []\nwhile True:\n    x.append(bytearray(1 << 22))\n"),
    "memory_mapped": (
        Status.MEMORY,
        "import mmap\nx = []\nwhile True:\n    x.append(mmap.mmap(-1, 1 << 24))\n",
    ),
    "fork_bomb": (Status.ERROR, "import os\nwhile True:\n    os.fork()\n"),
    "threads": (
        Status.ERROR,
        "import threading\nwhile True:\n    threading.Thread(target=threading.Event().wait).start()\n",
    ),
    "output": (Status.OUTPUT_LIMIT, "while True:\n    print('x' * 4000)\n"),
    "errors": (Status.OUTPUT_LIMIT, "import sys\nwhile True:\n    sys.stderr.write('x' * 4000)\n"),
    "disk": (Status.ERROR, "for n in range(1000):\n    open(str(n), 'wb').write(b'x' * (1 << 20))\n"),
    "one_file": (
        Status.ERROR,
        "with open('f', 'wb') as f:\n    while True:\n        f.write(b'x' * (1 << 20))\n",
    ),
    "sparse_file": (Status.ERROR, "f = open('f', 'wb')\nf.truncate(1 << 40)\n"),
    "recursion": (Status.ERROR, "def f():\n    f()\nf()\n"),
    "segmentation_fault": (Status.ERROR, "import ctypes\nctypes.string_at(0)\n"),
    "exit_status": (Status.ERROR, "raise SystemExit(3)\n"),
    "syntax": (Status.ERROR, "def f(:\n"),
    "kill_itself": (Status.MEMORY, "import os\nos.kill(os.getpid(), 9)\n"),  # as memory's end looks
}

# Judged by `assert answer() == UNKNOWN`, which none may pass.
FORGERIES: dict[str, str] = {
    "exit_early": "import os\nos._exit(0)",
    "exit_in_call": "import os\ndef answer():\n    os._exit(0)",
    "system_exit": "import sys\ndef answer():\n    sys.exit(0)",
    "always_equal": "class A:\n    def __eq__(self, other): return True\n    __hash__ = None\ndef answer(): return A()",
    "always_equal_text": "class A(str):\n    def __eq__(self, other): return True\ndef answer(): return A('x')",
    "always_equal_list": "class A(list):\n    def __eq__(self, other): return True\ndef answer(): return A()",
    "print_a_verdict": "import json\nprint(json.dumps({'status': 'ok', 'passed': [True]}))\n"
    'def answer():\n    import os\n    os.write(1, b\'{"status": "ok", "passed": [true]}\')\n    os._exit(0)',
    "write_to_every_descriptor": 'import os\ndef answer():\n    said = b\'{"status": "ok", "passed": [true]}\'\n'
    "    for fd in range(64):\n        try:\n            os.write(fd, len(said).to_bytes(8, 'big') + said)\n"
    "        except OSError:\n            pass\n    os._exit(0)",
    "patch_builtins": "import builtins\nbuiltins.AssertionError = type('E', (BaseException,), {})\n"
    "builtins.exec = builtins.compile = lambda *a, **k: None\ndef answer(): return None",
    "patch_harness": "import sys, gc\nfor one in gc.get_objects():\n    if isinstance(one, dict) and 'run_tests' in one:\n"
    "        one['run_tests'] = lambda *a: ([True], '')\n        one['pack'] = lambda value, keep: True\n"
    "def answer(): return None",
    "search_memory": "import gc\ndef answer():\n    for one in gc.get_objects():\n        if isinstance(one, (dict, list, tuple)):\n"
    "            for value in (one.values() if isinstance(one, dict) else one):\n"
    "                if isinstance(value, str) and 'assert answer' in value:\n"
    '                    return value.split("\'")[1]\n',
    "search_frames": "import sys\ndef answer():\n    frame = sys._getframe()\n    while frame:\n"
    "        for value in list(frame.f_locals.values()) + list(frame.f_globals.values()):\n"
    "            if isinstance(value, (str, dict)) and 'assert answer' in str(value):\n"
    '                return str(value).split("\'")[1]\n        frame = frame.f_back',
    "read_descriptors": "import os\ndef answer():\n    for fd in range(64):\n        try:\n            os.set_blocking(fd, False)\n"
    "            text = os.read(fd, 1 << 16).decode(errors='replace')\n            if 'assert' in text:\n"
    '                return text.split("\'")[1]\n        except OSError:\n            pass',
    "read_parent_memory": "import os\ndef answer():\n    pid = os.getppid()\n"
    "    return open(f'/proc/{pid}/mem', 'rb').read(1)",
    "stop_the_tests": "import os, signal\ndef answer():\n    os.kill(os.getppid(), signal.SIGSTOP)\n    return None",
    "kill_the_tests": "import os, signal\ndef answer():\n    os.kill(os.getppid(), signal.SIGKILL)\n    return None",
    "raise_assertion": "def answer():\n    raise AssertionError",
    "raise_no_exception": "def answer():\n    raise KeyboardInterrupt",
    "replace_same": "same = lambda *a: True\ndef answer(): return None",
    "shadow_builtins": "def str(x): return None\ndef isinstance(*a): return True\ndef len(x): return 0\n"
    "def answer(): return None",
    "deep_answer": "def answer():\n    x = []\n    for _ in range(100000):\n        x = [x]\n    return x",
    "huge_answer": "def answer():\n    return 'x' * (1 << 27)",
    "garbage_answer": "import os\ndef answer():\n    os.write(21, b'\\xff' * 64)\n    os._exit(0)",
    "no_function": "x = 1",
}

# Judged by their tests, all of which pass.
RIGHT: dict[str, tuple[str, tuple[str, ...]]] = {
    "plain": ("def f(x):\n    return x + 1", ("assert f(1) == 2", "assert f(-1) == 0")),
    "prints": ("def f(x):\n    print('noise' * 100)\n    return x", ("assert f(1) == 1",)),
    "in_place": ("def f(x):\n    x.sort()", ("x = [3, 1, 2]\nf(x)\nassert x == [1, 2, 3]",)),
    "class": (
        "class Stack:\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x)\n"
        "    def top(self): return self.items[-1]",
        ("s = Stack()\ns.push(4)\nassert s.top() == 4\nassert s.items == [4]",),
    ),
    "data": (
        "from fractions import Fraction\ndef f():\n    return {'a': (1, 2.5, {3}), 'b': [None, b'x', 2j, Fraction(1, 3)]}",
        ("from fractions import Fraction\nassert f() == {'a': (1, 2.5, {3}), 'b': [None, b'x', 2j, Fraction(1, 3)]}",),
    ),
    "raises": (
        "def f(x):\n    if x < 0:\n        raise ValueError('negative')",
        ("try:\n    f(-1)\nexcept ValueError as problem:\n    assert 'negative' in str(problem)\nelse:\n    assert False",),
    ),
    "generator": ("def f(n):\n    yield from range(n)", ("assert list(f(3)) == [0, 1, 2]",)),
    "unicode": ("def f(x):\n    return x[::-1]", ("assert f('äß…') == '…ßä'",)),
    "recursion": ("def f(n):\n    return 1 if n < 2 else n * f(n - 1)", ("assert f(20) == 2432902008176640000",)),
    "imports": ("import re, math, collections\ndef f(x):\n    return collections.Counter(x)", ("assert f('aab') == {'a': 2, 'b': 1}",)),
}  # fmt: skip
