.PHONY: check format fix test slow
check: ## format, lint, types, import contracts, fast tests
	uv run ruff format --check .
	uv run ruff check .
	uv run mypy
	uv run lint-imports
	uv run pytest

fix: ## let ruff repair what it can
	uv run ruff format .
	uv run ruff check --fix .

test:
	uv run pytest

slow: ## long and browser tests
	uv run pytest -m "slow or browser"
