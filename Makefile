# Everything runs in .venv, installed from the lock.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-all fuzz faults lint lock audit results bench clean

demo: .venv/.installed
	$(BIN)/python -m ofa_bert demo --output_dir out/demo --overwrite_output_dir

test: .venv/.installed lint
	$(BIN)/python -m pytest

# Every fault of docs/reliability.md, many times; it ends with the table.
faults: .venv/.installed
	$(BIN)/python -m pytest tests/faults -m "not gpu" -q

# The suite on every Python that docs/trust.md names; says which it had to leave out.
test-all: .venv/.installed
	$(BIN)/python .ci/test_all.py

# Garbage for every reader of files, so many seconds each; see tests/fuzz/run.py.
FUZZ_SECONDS ?= 600
fuzz: .venv/.installed
	$(BIN)/python -m pip install --quiet --require-hashes --requirement tests/fuzz/requirements.txt
	$(BIN)/python -m tests.fuzz.run --seconds $(FUZZ_SECONDS)

# The tables of docs/results.md; see benchmarks/real_data.sh for what it needs.
results: .venv/.installed
	benchmarks/real_data.sh

# The tables of benchmarks/README.md, in under 20 minutes on 2 quiet cores.
bench: .venv/.installed
	$(BIN)/python -m benchmarks.inference
	$(BIN)/python -m benchmarks.inference --model bert-base --shapes 8x128 --widths 1.0 1/2
	$(BIN)/python -m benchmarks.stages
	$(BIN)/python -m benchmarks.scaling --steps 2
	$(BIN)/python -m benchmarks.tries --rounds 1
	$(BIN)/python -m benchmarks.train_step --rounds 1 --steps 1
	$(BIN)/python -m benchmarks.render

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/.installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v == (3, 11) or sys.exit( \
	  "error: requirements.txt is a lock for Python 3.11; $(PYTHON) is %d.%d; " % v + \
	  "type make $(MAKECMDGOALS) PYTHON=python3.11, or install without the lock: pip install .")'
	$(PYTHON) -m venv .venv
	# jieba and seqeval have no wheels: they are built with the locked tools, not the newest.
	awk '/^[^ ]/ {keep = /^(packaging|pip|setuptools|setuptools-scm|wheel)==/} keep' requirements.txt > .venv/build.txt
	$(BIN)/python -m pip install --quiet --require-hashes --requirement .venv/build.txt
	$(BIN)/python -m pip install --quiet --require-hashes --no-build-isolation --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# requirements.txt holds every package of every extra, pinned with its hashes; see CONTRIBUTING.md.
lock: .venv/.installed
	$(BIN)/pip-compile --quiet --strip-extras --allow-unsafe --annotation-style=line --no-header \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --generate-hashes \
	  --extra paddlenlp --extra slim --extra onnx --extra dev \
	  --output-file requirements.txt pyproject.toml

# Known vulnerabilities of what the lock pins, from the registry's own advisories.
AUDIT := .venv/audit/bin/python
audit: .venv/.installed
	$(PYTHON) -m venv .venv/audit
	$(AUDIT) -m pip install --quiet pip-audit==2.10.1
	$(AUDIT) -m pip_audit --strict --disable-pip --require-hashes --progress-spinner off \
	  --requirement requirements.txt

clean:
	rm -rf .venv .venvs build dist *.egg-info out
