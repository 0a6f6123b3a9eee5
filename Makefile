# One verb an intention. Everything runs from the repository root.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)
PRESET ?=
PAIRS ?=
NAME ?=
SIZE ?=

.PHONY: help setup repro toy study test clients kernels check docs bench scale campaign mining identities speedrun objectives clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-12s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.installed ## .venv from requirements.lock

.venv/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check -r requirements.lock
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

repro: setup ## the whole flow -> reports/summary.json, reports/index.html   [PRESET=name]
	facestill params $(PRESET)
	dvc repro

# Without the default run's dvc.lock, which is of no use there: DVC would write it after each stage.
toy: setup ## the same flow with a few hundred faces, in a copy under .work/toy
	rm -rf .work/toy && mkdir -p .work/toy
	git ls-files -z -- . ':!dvc.lock' | tar -cf - --null -T - | tar -xf - -C .work/toy
	cd .work/toy && dvc config --local core.no_scm true && facestill params toy && dvc repro
	@echo "look at .work/toy/reports/index.html"

study: setup ## a study beside the flow -> reports/studies/NAME.json, index.html   NAME=name [SIZE=name]
	facestill study "$(NAME)" $(SIZE)
	dvc repro "params/studies/stages/$(NAME)/dvc.yaml:$(NAME)"
	facestill study-page

# A process a core, of one thread each; a file's tests stay together, so that what they share is
# made once.
PYTEST := python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
test: setup ## every test
	OMP_NUM_THREADS=1 $(PYTEST)

# What runs a student elsewhere, a gigabyte: in an environment of its own, which stands on .venv.
# Without npm the page for browsers is not tried.
clients: .venv-clients/.installed ## an exported student by InsightFace, LiteRT and a browser themselves
	OMP_NUM_THREADS=1 .venv-clients/bin/python -m pytest tests/clients

.venv-clients/.installed: requirements-clients.lock .venv/.installed
	$(PYTHON) -m venv .venv-clients
	.venv/bin/python -c "import site; print('import site; site.addsitedir(%r)' % site.getsitepackages()[0])" \
		> "$$(.venv-clients/bin/python -c 'import site; print(site.getsitepackages()[0])')/below.pth"
	.venv-clients/bin/pip install --quiet --disable-pip-version-check --no-deps -r requirements-clients.lock
	if command -v npm >/dev/null; then npm install --silent --no-save --ignore-scripts \
		--prefix .venv-clients onnxruntime-web@1.30.0; fi
	touch $@

# Tolerances must hold with the arithmetic of other CPUs. A CPU without AVX-512 runs the second as
# the third.
kernels: setup ## every test as on other CPUs and with two threads, half an hour
	@failed=0; for machine in "OMP_NUM_THREADS=1" "OMP_NUM_THREADS=1 OPENBLAS_CORETYPE=SkylakeX" \
		"OMP_NUM_THREADS=1 OPENBLAS_CORETYPE=Haswell ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2" \
		"OMP_NUM_THREADS=2"; \
	do echo "== $$machine"; env -u OPENBLAS_CORETYPE $$machine $(PYTEST) || failed=1; done; exit $$failed

check: setup ## lint, format, types
	ruff check .
	ruff format --check .
	mypy

docs: setup ## the book of docs/ as a site -> reports/docs/index.html
	NO_MKDOCS_2_WARNING=1 mkdocs build --quiet

bench: setup ## performance as ratios within one run -> reports/bench.json
	python -m tests.bench

scale: setup ## 10,000 and 100,000 faces, a quarter of an hour -> reports/scale.json
	python -m tests.bench.scale

campaign: setup ## kills, damage, full disks: a quarter of an hour -> reports/campaign.json
	python -m tests.campaign

mining: setup ## laws of mining against the prior, 1.5 hours, after `make repro` -> docs/results/mining.json   [PAIRS=folder]
	OMP_NUM_THREADS=1 python -m tests.experiments.mining $(if $(PAIRS),--pairs $(PAIRS))

identities: setup ## sampling laws, and students with identities, 1.3 hours, after `make repro` -> docs/results/   [PAIRS=folder]
	OMP_NUM_THREADS=1 python -m tests.experiments.identities --judge runs/start
	OMP_NUM_THREADS=1 python -m tests.experiments.identity_students $(if $(PAIRS),--pairs $(PAIRS))

speedrun: setup ## accuracy for each CPU minute, three seeds an arm, many hours, after `make repro` -> docs/results/   PAIRS=folder
	OMP_NUM_THREADS=1 python -m tests.experiments.speedrun --pairs "$(PAIRS)" --page docs/SPEEDRUN.md

objectives: setup ## margins beside a teacher, ten minutes, after `make repro` -> docs/results/   [PAIRS=folder]
	OMP_NUM_THREADS=1 python -m tests.experiments.objectives $(if $(PAIRS),--pairs "$(PAIRS)")

clean: ## everything that can be made again, but for .venv and DVC's cache
	rm -rf data runs reports .work
