"""Run a Python command and print its wall time and peak memory after it."""

import resource
import subprocess
import sys
import time

start = time.perf_counter()
code = subprocess.run([sys.executable, *sys.argv[1:]], check=False).returncode
seconds = time.perf_counter() - start
megabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
print(f"wall time {seconds:.0f} s, peak memory {megabytes:.0f} MB", file=sys.stderr)
sys.exit(code)
