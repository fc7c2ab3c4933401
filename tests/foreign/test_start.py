"""What the server says of itself, and what when the host does not give it what it needs."""

import ctypes
import errno
import json
import subprocess
import tomllib

import pytest

from server import REPOSITORY, binary

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x0005_0000, 0x7FFF_0000
# The same number on every architecture (linux/include/uapi/asm-generic/unistd.h).
IO_URING_SETUP = 425
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06


def test_the_version_is_that_of_the_workspace():
    version = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    done = subprocess.run([str(binary()), "--version"], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"switchyard {version}\n", "")


def test_a_log_for_machines_is_an_object_a_line(own_server):
    own_server.arguments = ["--log-format", "json"]
    own_server.start()
    assert own_server.stop() == 0, own_server.log_text()
    said = "everything is flushed"
    lines = [json.loads(line) for line in own_server.log if said in line]
    assert [(line["level"], line["message"]) for line in lines] == [("INFO", said)]
    assert lines[0]["timestamp"]


class Instruction(ctypes.Structure):
    """`struct sock_filter` of linux/filter.h."""

    _fields_ = [("code", ctypes.c_uint16), ("true", ctypes.c_uint8), ("false", ctypes.c_uint8), ("k", ctypes.c_uint32)]


class Program(ctypes.Structure):
    """`struct sock_fprog` of linux/filter.h."""

    _fields_ = [("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(Instruction))]


def refuse_io_uring(number):
    """Makes io_uring_setup fail with this errno, in this process and those it becomes."""
    instructions = (Instruction * 4)(
        Instruction(LOAD_WORD, 0, 0, 0),
        Instruction(JUMP_IF_EQUAL, 0, 1, IO_URING_SETUP),
        Instruction(RETURN, 0, 0, SECCOMP_RET_ERRNO | number),
        Instruction(RETURN, 0, 0, SECCOMP_RET_ALLOW),
    )
    program = Program(len(instructions), instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS")
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_SECCOMP")


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS], ids=["disabled", "an old kernel"])
def test_without_io_uring_the_error_says_what_to_do(own_server, number):
    command = [str(binary()), "serve", "--dev", "--data", str(own_server.data)]
    command += ["--listen-ws", "127.0.0.1:0", "--listen-admin", "127.0.0.1:0"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, preexec_fn=lambda: refuse_io_uring(number)
    )
    assert done.returncode not in (0, None) and "ready" not in done.stdout
    for word in ("io_uring", "6.1", "kernel.io_uring_disabled"):
        assert word in done.stderr, done.stderr
