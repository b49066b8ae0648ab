"""A process for tests/test_harness.py: it answers with what it was asked."""

import os
import sys

from benchmarks.harness import serve


def answer(**request):
    print("a library's greeting on standard output")  # noqa: T201
    if "fail" in request:
        raise RuntimeError(request["fail"])
    return {
        "request": request,
        "arguments": sys.argv[1:],
        "threads": os.environ.get("MKL_NUM_THREADS"),
        "pid": os.getpid(),
    }


def seconds(**request):
    return [float(sys.argv[2]) + request["add"]]


serve(seconds if sys.argv[1:2] == ["--seconds"] else answer)
