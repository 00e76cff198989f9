# The commands of this project. A fresh machine needs make and Python 3.11; each target says what else, and what it found.
# ARGS goes to the program behind a target: make test ARGS="-k kafka -x", make serve ARGS="--port 8001"

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: setup ## set up, run a gateway, send it real records and a real binary, show the events
	@.venv/bin/python examples/demo.py $(ARGS)

.PHONY: serve
serve: setup ## run the gateway on this machine, with its data in .inlake/
	@exec .venv/bin/inlake serve $(ARGS)

.PHONY: test
test: setup ## run all tests, with real Kafka, registry and S3 (installed on the first run)
	@tools/test.sh $(ARGS)

.PHONY: test-embedded
test-embedded: setup ## run the tests that need no server
	@.venv/bin/python -m pytest -m 'not live' $(ARGS)

.PHONY: test-pythons
test-pythons: setup ## run the unit tests on Python 3.12 and 3.13 too, where they are installed
	@tools/pythons.sh

.PHONY: spark-setup
spark-setup: setup ## install Spark for recipes/spark (Java 17, Maven); from then on `make test` runs its tests too
	@tools/spark.sh setup

.PHONY: spark-demo
spark-demo: setup ## real records and meshes through Spark, in batch and as a stream, with real servers; prints what came of it
	@tools/spark.sh demo $(ARGS)

.PHONY: spark-bench
spark-bench: setup ## what a record costs in Spark, beside the codec alone; ARGS="10000 100000"
	@tools/spark.sh run recipes/spark/.venv/bin/python recipes/spark/bench.py $(ARGS)

.PHONY: bench
bench: setup ## measure speed beside the limits of this machine, into docs/performance.md; ARGS=--quick takes 2 minutes
	@.venv/bin/python -m benchmarks $(ARGS)

.PHONY: bench-upload
bench-upload: setup ## a folder into S3 beside s5cmd, rclone and aws-cli; ARGS=--write into docs/performance.md
	@.venv/bin/python -m benchmarks.collection $(ARGS)

.PHONY: check
check: setup ## format, lint, types, import contracts, generated pages, known vulnerabilities
	@tools/check.sh

.PHONY: format
format: setup ## put the code into the house format and repair what the linter can
	@.venv/bin/ruff check --fix --quiet || true
	@.venv/bin/ruff format

.PHONY: docs
docs: setup ## write the pages of docs/reference that come from the code
	@.venv/bin/python tools/docs.py

.PHONY: setup
setup: ## only the environment, in .venv, so that .venv/bin/inlake works
	@tools/setup.sh

.PHONY: services-start
services-start: ## start real Kafka, registry and S3 on their usual ports, to try things out
	@services/services.sh start
	@echo 'Their addresses and keys as variables: eval "$$(services/services.sh env)"'

.PHONY: services-stop
services-stop: ## stop them
	@services/services.sh stop

.PHONY: services-status
services-status: ## what of them runs, and where
	@services/services.sh status || true

.PHONY: lock
lock: ## write requirements.lock anew from pyproject.toml
	@tools/lock.sh $(ARGS)

.PHONY: sbom
sbom: setup ## write what the image is made of into build/sbom.json (CycloneDX)
	@tools/sbom.sh build/sbom.json

.PHONY: clean
clean: ## remove .venv and all caches; .env and the data in .inlake/ stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
