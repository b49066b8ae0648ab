"""What may be wrong with an installation, each with what to do about it. Imports no paddle itself.

What is imported to see whether it works is imported in a child process, because a library that is
built for another one may end the process instead of raising.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_bert import __version__, runtime
from ofa_bert.errors import InputError
from ofa_bert.places import cache_directory
from ofa_bert.safe_text import one_line

if TYPE_CHECKING:
    from packaging.requirements import Requirement

IMPORT_SECONDS = 300
SMALLEST_DISK_GB, SMALLEST_MEMORY_GB = 2.0, 2.0
"""Checkpoints of a BERT-base take 1.7 GB, and its training more memory than that."""
EXTRAS = {
    "paddlenlp": ("paddlenlp.transformers", "datasets"),
    "slim": ("paddleslim",),
    "onnx": ("paddle2onnx", "onnxruntime"),
}
"""Modules of each extra, imported one after the other; the first is of its own package."""
PACKAGE_OF = {"paddlenlp.transformers": "paddlenlp"}
TRY_PADDLE = (
    "import paddle; a = paddle.ones([64, 64]); assert (a @ a).sum().item() == 64**3; "
    "print(paddle.device.get_device(), paddle.device.is_compiled_with_cuda())"
)


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    name: str
    found: str
    remedy: str | None = None
    """What to do about it; None where it is well."""


SYMPTOMS: Mapping[str, str] = {
    r"cannot import name 'download' from 'aistudio_sdk": "pip install 'aistudio-sdk<0.3'",
    r"[Pp]y[Aa]rrow requires NumPy 2|numpy 2\.0\.0 or": "pip install 'pyarrow<26'",
    r"No module named 'decorator'": "pip install decorator",
    r"No module named 'pkg_resources'": "pip install 'setuptools<81'",
    r"compiled using NumPy 1\.x|numpy\.dtype size changed|_ARRAY_API not found": (
        "pip install 'numpy<2' where paddlenlp is wanted, or install from requirements.txt"
    ),
    r"libGL\.so|libgthread": "install the system library that opencv needs, e.g. libgl1",
    r"GLIBCXX_|libstdc\+\+": "install a newer libstdc++, or run in a newer system",
    r"libcudart|libcublas|libcudnn|libnccl": (
        "install the CUDA libraries of the paddlepaddle-gpu wheel, or paddlepaddle for the CPU"
    ),
    r"Illegal instruction|SIGILL": (
        "unset MKL_DEBUG_CPU_TYPE, or pass --math_library default; the wheel also needs AVX"
    ),
    r"No module named 'paddle'": "pip install 'paddlepaddle>=3.1'",
}
"""What a failing import says last, and what mends it (each was met; the pins prevent it)."""


def diagnose() -> list[Finding]:
    """Look at everything; a second or more for each extra that is installed."""
    return [
        *check_versions(),
        check_paddle(),
        check_threads(runtime.user_environment()),
        check_math_library(runtime.user_environment(), runtime.mkl_kernels(runtime.cpuinfo())),
        *(check_extra(extra) for extra in EXTRAS),
        check_folder("output", Path.cwd()),
        check_cache(),
        check_folder("temporary", Path(tempfile.gettempdir())),
        check_memory(runtime.memory_bytes(), runtime.available_bytes()),
    ]


def check_versions() -> list[Finding]:
    """Compare what is installed with what the package's own metadata asks for.

    What an extra asks for counts where the extra's own package is installed: the others may be
    there for other reasons.
    """
    from packaging.requirements import Requirement

    try:
        asked = [Requirement(line) for line in metadata.requires("ofa_bert") or ()]
    except metadata.PackageNotFoundError:
        asked = []
    extras = [extra for extra in EXTRAS if _installed(_own_package(extra))]
    findings = [Finding("ofa_bert", f"{__version__} on Python {sys.version.split()[0]}")]
    for requirement in asked:
        version = _installed(requirement.name)
        always = _asked_by(requirement, [""])
        missing = version is None and not always  # check_extra tells of it, check_paddle of paddle
        if missing or requirement.name.startswith("paddlepaddle"):
            continue
        if not always and not _asked_by(requirement, extras):
            continue
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            wanted = f"{requirement.name}{requirement.specifier}"
            remedy = f"pip install '{wanted}'"
            findings.append(Finding(requirement.name, version or "not installed", remedy))
        elif always:
            findings.append(Finding(requirement.name, version))
    return findings


def check_paddle() -> Finding:
    """Multiply two matrices with paddle in another process, and look for GPUs left unused."""
    cpu, gpu = _installed("paddlepaddle"), _installed("paddlepaddle-gpu")
    version = " and ".join(
        f"{name} {found}"
        for name, found in [("paddlepaddle", cpu), ("paddlepaddle-gpu", gpu)]
        if found
    )
    if cpu and gpu:
        remedy = "both write into one directory: pip uninstall both, then install one of them"
        return Finding("paddle", version, remedy)
    if gpu and gpu.startswith("2."):
        remedy = "PyPI's paddlepaddle-gpu ends at 2.6.2: see the head of requirements-gpu.txt"
        return Finding("paddle", version, remedy)
    error, output = _try(TRY_PADDLE)
    if error is not None:
        return Finding("paddle", f"{version or 'not installed'}: {error}", remedy_for(error))
    device, with_cuda = output.split()
    if with_cuda == "False" and Path("/proc/driver/nvidia/version").exists():
        remedy = "a GPU stays unused; for it see the head of requirements-gpu.txt"
        return Finding("paddle", f"{version}, built without CUDA", remedy)
    return Finding("paddle", f"{version}, computes on {device}")


def check_threads(environment: Mapping[str, str]) -> Finding:
    """Say how many threads paddle will have, and whether that is fewer than there are cores."""
    cores = runtime.usable_cores()
    name = "MKL_NUM_THREADS" if "MKL_NUM_THREADS" in environment else "OMP_NUM_THREADS"
    asked = environment.get(name)
    if asked is None:
        return Finding("threads", f"{cores}, one for each usable core")
    if not asked.isdigit() or int(asked) == 0:
        return Finding("threads", f"{name}={one_line(asked, 40)}", f"unset {name}, no number")
    if int(asked) != cores:
        remedy = f"unset {name} unless it is meant: it is not the {cores} usable cores"
        return Finding("threads", f"{name}={asked}", remedy)
    return Finding("threads", f"{name}={asked}")


def check_math_library(environment: Mapping[str, str], chosen: str | None) -> Finding:
    """Say which kernels MKL will take.

    Args:
        environment: the process's variables.
        chosen: from ``runtime.mkl_kernels``.
    """
    name, processor = "MKL_DEBUG_CPU_TYPE", runtime.processor_name()
    asked = environment.get(name)
    if asked is not None and asked != (chosen or asked):
        remedy = f"unset {name}: {chosen} is what this processor has"
        return Finding("math library", f"MKL, {name}={one_line(asked, 40)}, {processor}", remedy)
    kernels = asked or chosen
    said = f"kernels {kernels}" if kernels else "its own choice of kernels"
    return Finding("math library", f"MKL, {said}, on {processor}")


def check_extra(extra: str, importer: Callable[[str], str | None] | None = None) -> Finding:
    """Import what an extra installs, each module in its own process.

    Args:
        extra: one of ``EXTRAS``.
        importer: gives the last line of what importing a module says when it fails, else None.
    """
    modules = EXTRAS[extra]
    versions = {module: _installed(PACKAGE_OF.get(module, module)) for module in modules}
    if versions[modules[0]] is None:
        return Finding(f"extra [{extra}]", "not installed")
    for module, version in versions.items():
        package = PACKAGE_OF.get(module, module)
        if version is None:
            remedy = f"pip install 'ofa_bert[{extra}]'"
            return Finding(f"extra [{extra}]", f"{package} is not installed", remedy)
        error = (importer or import_error)(module)
        if error is not None:
            return Finding(f"extra [{extra}]", f"{package} {version}: {error}", remedy_for(error))
    known = ", ".join(f"{PACKAGE_OF.get(m, m)} {version}" for m, version in versions.items())
    return Finding(f"extra [{extra}]", known)


def check_cache() -> Finding:
    """Look at the folder of what we keep, where there is one."""
    try:
        return check_folder("cache", cache_directory())
    except InputError:
        remedy = "set OFA_BERT_CACHE to a folder of yours"
        return Finding("cache folder", "none, as this user has no home directory", remedy)


def check_folder(name: str, path: Path) -> Finding:
    """Say how much room there is where we write, and whether we may write there."""
    found = path
    while not found.exists():
        found = found.parent
    where = f"{name} folder"
    if not os.access(found, os.W_OK):
        remedy = "set OFA_BERT_CACHE or TMPDIR, or pass --output_dir, to a folder of yours"
        return Finding(where, f"{path} may not be written", remedy)
    free = shutil.disk_usage(found).free / 1e9
    remedy = f"free {SMALLEST_DISK_GB:g} GB there, or name another folder"
    said = f"{path}, {free:.1f} GB free"
    return Finding(where, said, None if free >= SMALLEST_DISK_GB else remedy)


def check_memory(total: int, available: int) -> Finding:
    """Say whether a BERT-base can be trained; both in bytes."""
    said = f"{available / 1e9:.1f} of {total / 1e9:.1f} GB free"
    remedy = "end other programs, or lower --batch_size and --max_seq_length"
    return Finding("memory", said, None if available / 1e9 >= SMALLEST_MEMORY_GB else remedy)


def remedy_for(error: str) -> str:
    """Recognise a known conflict by what it says; the lock where it is none of them."""
    for symptom, remedy in SYMPTOMS.items():
        if re.search(symptom, error):
            return remedy
    return "install what requirements.txt pins, in an environment of its own"


def import_error(module: str) -> str | None:
    """Import a module in another process; what it says last if it fails, or None."""
    return _try(f"import {module}")[0]


def _try(code: str) -> tuple[str | None, str]:
    """Run code in another process.

    Returns:
        The last line of its error, or None; and the last line it printed.
    """
    command = [sys.executable, "-W", "ignore", "-c", code]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_SECONDS)
    except subprocess.TimeoutExpired:
        return f"does not end within {IMPORT_SECONDS} s", ""
    if run.returncode == 0:
        return None, (run.stdout.strip().splitlines() or [""])[-1]
    if run.returncode == -4:
        return "Illegal instruction (SIGILL)", ""
    lines = run.stderr.strip().splitlines() or [f"ended with code {run.returncode}"]
    # Paddle writes its own report after the last line of the traceback.
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return one_line((errors or lines)[-1], 300), ""


def _asked_by(requirement: Requirement, extras: Iterable[str]) -> bool:
    """Tell whether one of these extras asks for it; ``""`` is the package without any."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)


def _own_package(extra: str) -> str:
    module = EXTRAS[extra][0]
    return PACKAGE_OF.get(module, module)


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
