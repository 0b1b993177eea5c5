# make quickstart   train, measure and report: runs/quickstart/report.html
# make test         the test suite
# make check        format, lint, types and the directions of imports
.PHONY: quickstart test check format wheel installs clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Without an NVIDIA GPU: the release whose CPU build pip finds where it is told to look (PIP_FIND_LINKS and the like);
# elsewhere the default build works too, it only brings unused CUDA packages along.
TORCH := $(shell command -v nvidia-smi >/dev/null 2>&1 && echo "torch>=2.6" || echo "torch==2.13.0")

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or 3.12 is needed, this is " + sys.version.split()[0]) if not (3, 11) <= sys.version_info[:2] <= (3, 12) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@begin=$$(date +%s); \
	  $(BIN)/pip install -q "$(TORCH)" && $(BIN)/pip install -q -e ".[dev]" && \
	  echo "installed in $$(( $$(date +%s) - begin )) s"
	@touch $@

quickstart: $(VENV)/.installed
	$(BIN)/vtb quickstart

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel: $(VENV)/.installed
	$(BIN)/python -m build

installs:
	.ci/installs

clean:
	rm -rf $(VENV) runs dist
