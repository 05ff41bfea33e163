# Everything from a fresh clone, with nothing but Python and make. `make help` lists what there is. What is done is in
# dev.py, which does without make: `python dev.py test`.
#
#   PYTHON  the interpreter to build .venv with, 3.11 or later        make test PYTHON=python3.12
#   INDEX   a package index to ask besides pip's own. PyTorch from PyPI is, on Linux, 3 GB for NVIDIA
#           GPUs; a tenth of that for the processor alone with
#                                          make demo INDEX=https://download.pytorch.org/whl/cpu
#   PHOTO   photos for `demo` in place of its own                     make demo PHOTO="one.jpg two.jpg"
#   BAR     arguments for one of the acceptance programs              make accept-sizes BAR="--count 20"

PYTHON ?= python3
PHOTO ?=
BAR ?=
export INDEX

DEV := $(PYTHON) dev.py

# A program benchmarks/accept_NAME.py is a bar: `make accept-NAME` runs it, `make acceptance` runs them all.
BARS := $(patsubst benchmarks/accept_%.py,accept-%,$(sort $(wildcard benchmarks/accept_*.py)))

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types unit slow-tests acceptance list-acceptance release-check docs clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@sed -n '/^#   [A-Z]/,/^$$/s/^# */      /p' $(firstword $(MAKEFILE_LIST))

setup:  ## make .venv with texturenets in it
	@$(DEV) $@

demo:  ## stylize photos with every shipped style; ends with a contact sheet
	@$(DEV) $@ $(foreach photo,$(PHOTO),--photo '$(photo)')

test:  ## all checks and the fast tests; what runs on every change
	@$(DEV) $@

lint types unit:
	@$(DEV) $@

slow-tests:  ## tests with real pictures and published models
	@$(DEV) $@

acceptance:  ## the long bars, one after the other; each alone: make accept-NAME
	@$(DEV) $@

list-acceptance:  ## names of the long bars
	@printf '%s\n' slow-tests $(BARS)

accept-%:
	@$(DEV) accept $* $(BAR)

release-check:  ## packages in dist/: made, checked, installed and used in empty environments
	@$(DEV) $@

docs:  ## the documentation site, in build/site
	@$(DEV) $@

clean:  ## remove everything that make made
	@$(DEV) $@
