# Two commands: 'make demo' shows what Pom does, 'make test' checks that it does it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-programs clean

demo: $(VENV)/installed
	$(BIN)/pom demo pom-demo

test: test-programs $(VENV)/test-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 POM_TEST_ALL=$(POM_TEST_ALL) $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadgroup

# What the tests drive for real, a SLURM, a browser and OpenGL without a display: installed where that needs no asking,
# as root on Debian. There a test that is skipped is an error, unless one says 'make test POM_TEST_ALL='; elsewhere those
# that lack something are skipped.
POM_TEST_ALL ?= $(shell test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo 1)
PROGRAMS := slurmctld munged chromium
PACKAGES := slurm-wlm munge chromium libegl1 libgl1-mesa-dri
test-programs:
	@missing=; for program in $(PROGRAMS); do command -v $$program >/dev/null || missing=$$program; done; \
	ldconfig -p 2>/dev/null | grep -q libEGL.so.1 || missing=libEGL; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		said=$$({ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $(PACKAGES); } 2>&1) \
			|| { echo "$$said" | tail -n 20; echo "$(PACKAGES) cannot be installed here (see above):" \
				"without them tests fail, or are skipped by 'make test POM_TEST_ALL='."; }; \
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
