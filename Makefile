# Each target sets up .venv by itself: all it needs is Python 3.11 or newer.

VENV ?= .venv
# The interpreter that makes the venv; the first suitable one if not given.
PYTHON ?=
# Processes that pytest spreads the tests over; 0 is none but its own (for debuggers).
WORKERS ?= 2
# Arguments for the program that a target runs: make test ARGS="-k iris", make demo ARGS=digits.
ARGS ?=
# If set, make test fails where the oracle cannot be installed, instead of skipping tests.
REQUIRE_TORCH ?=

# PyTorch is what the tests compare with, never a dependency.
TORCH := torch==2.13.0
TORCH_STAMP := $(VENV)/.$(subst ==,-,$(TORCH))
CANDIDATES := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python)
BENCHMARKS := train_step eager_ops loops lengths ops convolutions layers compile dataloader cold_start
BIN := $(VENV)/bin
# Bytecode, as pip makes it for a package that it copies: some machines write none when importing.
COMPILE := $(BIN)/python -m compileall -q torchlike
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help demo test lint bench clean

help:
	@echo "make demo    train the examples; beside PyTorch, where it is installed"
	@echo "make test    run the tests, with $(TORCH) as their oracle"
	@echo "make lint    check style and format"
	@echo "make bench   measure against PyTorch and hand-written JAX"
	@echo "make clean   remove $(VENV) and what the others made"

demo: $(VENV)/.examples
	$(BIN)/python examples/demo.py $(ARGS)

test: $(TORCH_STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(TORCH_STAMP)
	@for name in $(BENCHMARKS); do \
	    echo "==== $$name ===="; $(BIN)/python benchmarks/$$name.py $(ARGS) || exit 1; \
	done

clean:
	rm -rf $(VENV) out dist build .pytest_cache .ruff_cache

# ---- the virtual environment: one stamp file for each thing installed ----

$(VENV)/.created:
	@python=; \
	for candidate in $(CANDIDATES); do \
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        python=$$candidate; break; \
	    fi; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "no Python 3.11 or newer among: $(CANDIDATES)" >&2; \
	    echo "install one, or name it: make PYTHON=/path/to/python3" >&2; \
	    exit 1; \
	fi; \
	echo "making $(VENV) with $$("$$python" --version)"; \
	if ! "$$python" -m venv --clear $(VENV); then \
	    echo "$$python -m venv failed (Debian and Ubuntu keep it in the package python3-venv)" >&2; \
	    exit 1; \
	fi
	@touch $@

$(VENV)/.examples: $(VENV)/.created pyproject.toml
	@echo "installing torchlike and what the examples need (minutes, the first time)"
	@$(INSTALL) -e '.[examples]'
	@$(COMPILE)
	@touch $@

$(VENV)/.test: $(VENV)/.created pyproject.toml
	@echo "installing torchlike and what the tests need (minutes, the first time)"
	@$(INSTALL) -e '.[test]'
	@$(COMPILE)
	@touch $(VENV)/.examples $@

$(VENV)/.dev: $(VENV)/.created pyproject.toml
	@$(INSTALL) -e '.[dev]'
	@touch $@

# Where it fails no stamp is left, so that the next make test tries again.
$(TORCH_STAMP): $(VENV)/.test
	@echo "installing $(TORCH), the oracle of the tests (minutes, the first time)"
	@if $(INSTALL) '$(TORCH)'; then \
	    touch $@; \
	elif [ -n "$(REQUIRE_TORCH)" ]; then \
	    echo "$(TORCH) could not be installed, and REQUIRE_TORCH is set" >&2; exit 1; \
	else \
	    echo "$(TORCH) could not be installed: tests that compare with it will be skipped" >&2; \
	fi
