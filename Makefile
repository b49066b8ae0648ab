# Everything runs in .venv, installed from the lock.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint lock results bench clean

demo: .venv/.installed
	$(BIN)/python -m ofa_bert demo --output_dir out/demo --overwrite_output_dir

test: .venv/.installed lint
	$(BIN)/python -m pytest

# The tables of docs/results.md; see benchmarks/real_data.sh for what it needs.
results: .venv/.installed
	benchmarks/real_data.sh

# The tables of benchmarks/README.md, in under 20 minutes on 2 quiet cores.
bench: .venv/.installed
	$(BIN)/python -m benchmarks.inference
	$(BIN)/python -m benchmarks.inference --model bert-base --shapes 8x128 --widths 1.0 1/2
	$(BIN)/python -m benchmarks.stages
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.step_settings
	$(BIN)/python -m benchmarks.render

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/.installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# requirements.txt holds every package of every extra, pinned; see CONTRIBUTING.md.
lock: .venv/.installed
	$(BIN)/pip-compile --quiet --strip-extras --allow-unsafe --annotation-style=line --no-header \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	  --extra paddlenlp --extra slim --extra onnx --extra dev \
	  --output-file requirements.txt pyproject.toml

clean:
	rm -rf .venv build dist *.egg-info out
