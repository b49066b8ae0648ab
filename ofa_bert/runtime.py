"""What must happen before paddle is imported, and the choice of a device after it."""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import platform
import re
import sys
import warnings
from pathlib import Path

from ofa_bert.errors import InputError

logger = logging.getLogger(__name__)

MMAP_THRESHOLD, TRIM_THRESHOLD, TOP_PAD = -3, -1, -2  # mallopt(3) parameter numbers
KEEP_BYTES = 1 << 30

PREPARE = "OFA_BERT_PREPARE"
"""Variable of the environment; where it is 0, ``import ofa_bert`` leaves paddle's defaults."""
_ours: dict[str, str] = {}
"""What this process set for paddle. A command may choose anew, and children start without it."""
PADDLE_CAME_FIRST = "paddle" in sys.modules
"""Whether paddle was imported before this package, which could then set nothing for it."""


def prepare(math_library: str = "auto") -> None:
    """Set threads, the math library's kernels and the allocator, never over the user's values.

    ``import ofa_bert`` calls it, and a command once more with its own math library. Once paddle
    is imported it changes nothing, and warns if paddle came first. paddle starts with one thread,
    and the MKL it bundles takes its slow generic path on AMD processors; what each costs is
    measured by benchmarks/tries.py.

    Args:
        math_library: ``auto`` or ``default`` (leave MKL's choice of kernels alone).
    """
    if PADDLE_CAME_FIRST:
        _warn_that_paddle_came_first()
    if "paddle" in sys.modules:
        return
    warnings.filterwarnings("ignore", message="No ccache found")
    users = user_environment()
    for name in os.environ.keys() - users.keys():
        del os.environ[name]
    wanted = {"GLOG_minloglevel": "2", **_speeding(math_library)}
    _ours.clear()
    _ours.update({name: value for name, value in wanted.items() if name not in users})
    os.environ.update(_ours)
    if "OMP_NUM_THREADS" not in users:
        _ours["OMP_NUM_THREADS"] = "1"  # by paddle's import, later
    _keep_freed_memory()


def user_environment() -> dict[str, str]:
    """Give this process's variables without those that were set here for paddle."""
    return {name: value for name, value in os.environ.items() if _ours.get(name) != value}


def _speeding(math_library: str) -> dict[str, str]:
    """Give the variables that let paddle compute fast on this processor."""
    # With strided views, a transposed tensor is made contiguous by a slow generic kernel before
    # each product: a training step takes half as long again.
    variables = {"FLAGS_use_stride_kernel": "0", "MKL_NUM_THREADS": _threads()}
    kernels = mkl_kernels(cpuinfo()) if math_library == "auto" else None
    if kernels is not None:
        variables["MKL_DEBUG_CPU_TYPE"] = kernels
    return variables


def _threads() -> str:
    """Give the user's OMP_NUM_THREADS, else this process's share of the cores.

    paddle's import sets that variable to 1 where nobody did, and so does its launcher in what it
    starts: there 1 says nothing.
    """
    processes = processes_here()
    asked = os.environ.get("OMP_NUM_THREADS")
    if asked and not (asked == "1" and (processes > 1 or PADDLE_CAME_FIRST)):
        return asked
    return str(max(1, usable_cores() // processes))


@functools.cache  # once is enough
def _warn_that_paddle_came_first() -> None:
    wanted = _speeding("auto")
    if wanted["MKL_NUM_THREADS"] == os.environ.get("OMP_NUM_THREADS"):
        del wanted["MKL_NUM_THREADS"]  # MKL takes the other one
    missing = [f"{name}={value}" for name, value in wanted.items() if name not in os.environ]
    if missing:
        logger.warning(
            "paddle was imported before ofa_bert and computes with its own defaults, on the CPU "
            "with one thread and slower kernels; import ofa_bert first, or start Python with %s",
            " ".join(missing),
        )


def processes_here() -> int:
    """Read how many processes paddle's launcher started on this machine; 1 without it."""
    count = os.environ.get("PADDLE_LOCAL_SIZE", "")
    return int(count) if count.isdigit() and int(count) > 0 else 1


def usable_cores() -> int:
    """Count the processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Give the size of this machine's memory, in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def available_bytes() -> int:
    """Give the memory that programs can still have, in bytes; the whole where it is not told."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return memory_bytes()
    found = re.search(r"^MemAvailable: +(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else memory_bytes()


def processor_name() -> str:
    """Give the processor's own name, or its architecture where it does not tell."""
    lines = cpuinfo().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def mkl_kernels(text: str) -> str | None:
    """Choose MKL_DEBUG_CPU_TYPE for an AMD processor from the text of /proc/cpuinfo.

    Returns:
        ``7`` (AVX-512), ``5`` (AVX2), or None where MKL chooses well by itself or nothing is
        known. Type 7 on a processor without AVX-512 dies of an illegal instruction, so only
        the listed flags decide.
    """
    flags_line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    flags = set(flags_line.partition(":")[2].split())
    if "AuthenticAMD" not in text:
        return None
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags:
        return "7"
    return "5" if {"avx2", "fma"} <= flags else None


def mkl_is_fast() -> bool:
    """Whether MKL takes fast kernels here: it was told to, or chooses well by itself."""
    return "MKL_DEBUG_CPU_TYPE" in os.environ or mkl_kernels(cpuinfo()) is None


def describe() -> str:
    """Say in one line which threads and kernels are in force."""
    threads = os.environ.get("MKL_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or "1"
    kernels = os.environ.get("MKL_DEBUG_CPU_TYPE", "its own choice")
    return f"threads {threads}, MKL kernels {kernels}"


def choose_device(device: str | None, n_gpu: int | None) -> tuple[str, int]:
    """Resolve ``--device`` and ``--n_gpu`` to a paddle device and a count of processes.

    Returns:
        ``(device, num_processes)``: e.g. ``("cpu", 1)`` or ``("gpu", 4)``.

    Raises:
        InputError: if a device is asked for that is not there.
    """
    import paddle

    found = count_gpus()
    if device is not None:
        kind, _, index = device.partition(":")
        if kind == "gpu" and int(index or 0) >= found:
            raise InputError(
                f"device {device!r} is not there; found {found} GPUs; pass --device cpu"
            )
        if kind == "xpu" and not paddle.is_compiled_with_xpu():
            raise InputError("device 'xpu' is not in this build of paddle; pass --device cpu")
        return device, 1
    if n_gpu is None:
        return ("gpu", 1) if found else ("cpu", 1)
    if n_gpu > found:
        raise InputError(f"n_gpu {n_gpu} asks for more than the {found} GPUs found; pass --n_gpu 0")
    return ("gpu", n_gpu) if n_gpu else ("cpu", 1)


def count_gpus() -> int:
    """Count the GPUs that paddle can use here."""
    import paddle

    return paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0


def cpuinfo() -> str:
    """Give the text of /proc/cpuinfo; nothing where there is none."""
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def _keep_freed_memory() -> None:
    """Ask glibc not to hand large blocks back, only to fault them in again at the next step."""
    if not sys.platform.startswith("linux") or "GLIBC_TUNABLES" in os.environ:
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library: nothing to tune
        return
    for parameter in (MMAP_THRESHOLD, TRIM_THRESHOLD, TOP_PAD):
        mallopt(parameter, KEEP_BYTES)
