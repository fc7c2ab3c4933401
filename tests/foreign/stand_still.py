"""Makes one thread of a running process stand still, as a debugger does, and lets it go on.

    with stand_still(server.pid, "router-1"):
        ...  # every other thread of the server runs

By ptrace(2), whose calls must all come from one thread: it is this module's. Whatever happens to the test, the kernel
lets the stopped thread go when the test's process ends.
"""

import contextlib
import ctypes
import os
import pathlib
import threading

# linux/ptrace.h, linux/wait.h.
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request, thread):
    if _libc.ptrace(request, thread, None, None) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def thread_named(pid, name):
    """The id of a process's thread of this name. Helpers that a thread began itself have its name too, and come later."""
    tasks = pathlib.Path(f"/proc/{pid}/task")
    return min(int(task.name) for task in tasks.iterdir() if (task / "comm").read_text().strip() == name)


@contextlib.contextmanager
def stand_still(pid, name):
    """Stops the thread of that name until the block ends.

    Raises PermissionError where ptrace is not allowed.
    """
    thread, stands, go_on, failed = thread_named(pid, name), threading.Event(), threading.Event(), []

    def trace():
        try:
            _ptrace(PTRACE_SEIZE, thread)
            _ptrace(PTRACE_INTERRUPT, thread)
            os.waitpid(thread, WALL)
        except OSError as error:
            failed.append(error)
            return
        finally:
            stands.set()
        go_on.wait()
        # A process that was killed meanwhile has nothing left to let go.
        with contextlib.suppress(ProcessLookupError):
            _ptrace(PTRACE_DETACH, thread)

    tracer = threading.Thread(target=trace, name="tracer", daemon=True)
    tracer.start()
    stands.wait()
    if failed:
        raise failed[0]
    try:
        yield
    finally:
        go_on.set()
        tracer.join()
