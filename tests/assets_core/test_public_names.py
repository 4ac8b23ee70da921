"""`import assets_core`: what it offers, and that it costs next to nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import assets_core

SOURCE = Path(assets_core.__file__).read_text()
HEAVY = (
    "numpy",
    "pandas",
    "pyarrow",
    "sqlalchemy",
    "pydantic",
    "fsspec",
    "s3fs",
    "polars",
    "duckdb",
    "networkx",
)


def homes() -> dict[str, str]:
    """Module by name, as type checkers see it."""
    return {
        name.asname or name.name: node.module or ""
        for node in ast.walk(ast.parse(SOURCE))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("assets_core.")
        for name in node.names
    }


def test_public_names_are_sorted_unique_and_few() -> None:
    assert list(assets_core.__all__) == sorted(set(assets_core.__all__))
    assert len(assets_core.__all__) <= 40


def test_what_type_checkers_see_is_what_is_loaded() -> None:
    assert homes() == {name: f"assets_core.{home}" for name, home in assets_core._HOMES.items()}
    assert set(homes()) == set(assets_core.__all__)


@pytest.mark.parametrize("name", assets_core.__all__)
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    found = getattr(assets_core, name)
    assert found.__doc__
    assert name in dir(assets_core)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'assett'"):
        assets_core.assett  # noqa: B018


def test_defining_a_project_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from assets_core import asset, asset_check, external_asset, Context, Project, Resource, Retry, In\n"
        "@asset\ndef a() -> int: return 1\n"
        "@asset(retries=Retry(2))\ndef b(a: int, context: Context) -> dict[str, int]: return {}\n"
        "@asset_check(asset='b')\ndef ok(b: int) -> bool: return True\n"
        "Project([a, b, external_asset('x', path='x.parquet')], [ok])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
