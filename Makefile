# Everything from a fresh clone, with nothing but Python and make. `make help` lists what there is.
#
#   PYTHON  the interpreter to build .venv with, 3.11 or later        make test PYTHON=python3.12
#   INDEX   a package index to ask besides pip's own. PyTorch from PyPI is, on Linux, 3 GB for NVIDIA
#           graphics cards; a tenth of that for the processor alone with
#                                          make demo INDEX=https://download.pytorch.org/whl/cpu
#   PHOTO   photos for `demo` in place of its own                     make demo PHOTO="one.jpg two.jpg"
#   BAR     arguments for one of the acceptance programs              make accept-sizes BAR="--count 20"

PYTHON ?= python3
INDEX ?=
PHOTO ?=
BAR ?=

BIN := .venv/bin
STAMP := .venv/.complete
PIP := $(BIN)/python -m pip --disable-pip-version-check

# A program benchmarks/accept_NAME.py is a bar: `make accept-NAME` runs it, `make acceptance` runs them all.
BARS := $(patsubst benchmarks/accept_%.py,accept-%,$(sort $(wildcard benchmarks/accept_*.py)))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test lint types unit slow-tests acceptance list-acceptance release-check docs clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@sed -n '/^#   [A-Z]/,/^$$/s/^# */      /p' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP)  ## make .venv with texturenets in it

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("texturenets needs Python 3.11 or later; say which: make PYTHON=python3.12" \
		if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(PIP) install -q -c constraints.txt $(if $(INDEX),--extra-index-url $(INDEX)) -e '.[openvino,train,video,web,large,heif,hub,dev]'
	@touch $@

demo: setup  ## stylize photos with every shipped style; ends with a contact sheet
	$(BIN)/texturenets demo $(foreach photo,$(PHOTO),--photo '$(photo)') -o demo

test: lint  ## all checks and the fast tests; what runs on every change
	@$(MAKE) --no-print-directory -j 2 types unit

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

# The larger half of the files, a process each, largest first, so that no long one is left for the end; then the others,
# eight a process, which spares the start of 35. Not all in one: some large files in one process have ended without a
# word, or waited for ever. 5 is pytest's "no tests": all of that file's are slow.
LARGER = 46
unit: setup
	@{ ls -S tests/test_*.py | head -$(LARGER); ls -S tests/test_*.py | tail -n +$$(($(LARGER) + 1)) | xargs -n 8; } \
		| OMP_NUM_THREADS=1 xargs -P 2 -L 1 sh -c 'log=$$(mktemp); $(BIN)/pytest -m "not slow" "$$@" >$$log 2>&1; \
		status=$$?; cat $$log; rm $$log; [ $$status = 0 ] || [ $$status = 5 ]' sh

slow-tests: setup  ## tests with real pictures and published models
	$(BIN)/pytest -m slow

acceptance: slow-tests $(BARS)  ## the long bars, one after the other; each alone: make accept-NAME

list-acceptance:  ## names of the long bars
	@printf '%s\n' slow-tests $(BARS)

accept-%: benchmarks/accept_%.py setup
	$(BIN)/python $< $(BAR)

release-check: setup  ## packages in dist/: made, checked, installed and used in empty environments
	$(BIN)/python benchmarks/accept_reach.py --only release

docs: setup  ## the documentation site, in build/site
	$(PIP) install -q 'mkdocs>=1.6,<2' 'mkdocstrings-python>=2,<3'
	$(BIN)/mkdocs build --strict
	$(BIN)/texturenets export composition_vii udnie --to web -o build/site/demo

clean:  ## remove everything that make made
	rm -rf .venv build dist demo *.egg-info .mypy_cache .ruff_cache tests/*.log
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
