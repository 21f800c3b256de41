# Two commands: 'make demo' shows what Pom does, 'make test' checks that it does it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test slurm clean

demo: $(VENV)/installed
	$(BIN)/pom demo pom-demo

test: slurm $(VENV)/test-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

# A real SLURM for the tests of jobs: installed where that needs no asking, as root on Debian; else they are skipped.
slurm:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! { command -v slurmctld && command -v munged; } >/dev/null; then \
		{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends slurm-wlm munge; } >/dev/null 2>&1 \
			|| echo "slurm-wlm and munge cannot be installed here: the tests on a real SLURM are skipped."; \
	fi

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/test-installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) pom-demo
