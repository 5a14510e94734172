# The two commands are `make run` and `make test`; each installs what it needs on its first call.
PYTHON ?= python3
VENV ?= .venv
HUB ?= examples/grocer
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Settings of `make run`: ONCE=1, STATE=folder, PORT=8400, DAGSTER_PORT=3000
UP := $(if $(ONCE),--once) $(if $(STATE),--state $(STATE)) $(if $(PORT),--port $(PORT)) \
      $(if $(DAGSTER_PORT),--dagster-port $(DAGSTER_PORT))

.PHONY: run test proof kills real mutants bench lint types imports check-python constraints clean

run: $(INSTALLED)
	@$(BIN)/inventory-pipeline up $(HUB) $(UP)

test: lint types imports
	$(BIN)/python -m pytest -n $(or $(WORKERS),4) -m "not real_systems" $(PYTEST)

# What `make test` tries on a hundred made-up histories, on two thousand: half an hour on two cores.
proof: $(INSTALLED)
	HUB_EXAMPLES=$(or $(HISTORIES),2000) $(BIN)/python -m pytest -n auto --dist worksteal -q \
	  inventory_pipeline_tests/properties $(PYTEST)

# kill -9 of sync runs between any two statements and around any request: 40 times in `make test`, 200 times here.
kills: $(INSTALLED)
	HUB_KILLS=$(or $(KILLS),200) $(BIN)/python -m pytest -n auto -q \
	  inventory_pipeline_tests/end_to_end/test_kill_points.py $(PYTEST)

# Tryton and Vendure, started from pinned versions; fetched once into ~/.cache, which takes minutes. Needs Node 20.
# MariaDB where the machine has it (apt-get install mariadb-server): a private one, on a port of its own.
real: $(INSTALLED)
	-$(BIN)/python -m inventory_pipeline_tests.real_systems.servers
	$(BIN)/python -m pytest -q -m real_systems inventory_pipeline_tests/real_systems $(PYTEST)

# Which misread rules would those histories not tell from the right ones? None, it should say.
mutants: $(INSTALLED)
	$(BIN)/python -m inventory_pipeline_tests.properties.mutants $(NAME)

# Half an hour at most, on a machine that does nothing else; BENCH="land ingest" runs only these.
bench: $(INSTALLED)
	$(BIN)/python -m benchmarks $(BENCH)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

imports: $(INSTALLED)
	$(BIN)/lint-imports

# Pinned versions with hashes first, then this package without its dependencies: pip can't do both at once.
$(INSTALLED): constraints.txt pyproject.toml
	@$(MAKE) --no-print-directory check-python
	@echo "Installing pinned packages into $(VENV) (once; a minute or two) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

check-python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed, and $$($(PYTHON) --version 2>&1) is first on the path."; \
	    echo "Name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	  { echo "This Python cannot make virtual environments. On Debian: apt-get install python3-venv"; exit 2; }

# Newest versions that work together, for every supported Python, with hashes and without index addresses.
constraints: $(INSTALLED)
	$(BIN)/uv pip compile pyproject.toml --extra demo --extra bench --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-strip-extras --no-header --no-annotate --no-emit-index-url \
	  --upgrade --output-file constraints.txt

clean:
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis
