.PHONY: serve test lint lock bench docs reference example

serve:
	python craft serve

test:
	python -m pytest

lint:
	ruff check .
	ruff format --check .
	mypy
	python .ci/language.py

# The documentation as a site, on http://127.0.0.1:8100; it is built again when a page changes.
docs:
	NO_MKDOCS_2_WARNING=1 mkdocs serve --strict --dev-addr 127.0.0.1:8100

# The parts of the reference pages that are made from the code.
reference:
	python .ci/reference.py

# The files of examples/orders that are as `python -m zuplo_origin new` writes them.
example:
	python .ci/example.py

# Keeps the versions that are locked; `make lock LOCK=--upgrade` takes the newest ones.
lock:
	for name in requirements requirements-otel requirements-dev; do \
	    uv pip compile $(LOCK) --universal --python-version 3.10 --generate-hashes --no-header --quiet $$name.in -o $$name.txt || exit 1; \
	done
	uv pip compile $(LOCK) --universal --python-version 3.11 --generate-hashes --no-header --quiet requirements-fuzz.in -o requirements-fuzz.txt
	python .ci/example.py

bench:
	python -m benchmarks.http
