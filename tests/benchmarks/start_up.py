"""What a command costs before it does anything."""

from __future__ import annotations

import json
import subprocess

from tests.benchmarks.registry import (
    ROOT,
    Result,
    benchmark,
    command_cpu_s,
    fresh_folder,
    python,
    within,
)

HEAVY = (
    "pandas",
    "pyarrow",
    "sqlalchemy",
    "sqlglot",
    "networkx",
    "great_expectations",
    "streamlit",
    "numpy",
    "pydantic",
)
COMMAND = ("-m", "ui.cli.main")


@benchmark
def help_start_up() -> list[Result]:
    """`assetline --help` against `python -c pass`, and what it imports."""
    nothing = command_cpu_s(python("-c", "pass"))
    shown = command_cpu_s(python(*COMMAND, "--help"))
    program = (
        "import sys, json, contextlib, io\n"
        "from ui.cli.main import cli\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    cli.main(['--help'])\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    done = subprocess.run(python("-c", program), cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = json.loads(done.stdout.splitlines()[-1])
    return [
        within(
            "help_start_up", shown / nothing, "x python -c pass", 6.0, ms=shown * 1e3, pass_ms=nothing * 1e3
        ),
        within("help_heavy_imports", len(heavy), "heavy modules", 0, found=" ".join(heavy) or "none"),
    ]


@benchmark
def list_start_up() -> list[Result]:
    """`assetline list` of 100 assets that import no pandas."""
    root = fresh_folder()
    lines = ["from assets_core import Project, DailyPartitions, asset"]
    lines += ["days = DailyPartitions('2024-01-01', '2025-01-01')"]
    lines += ["@asset(partitions=days)\ndef a0() -> str:\n    return ''"]
    lines += [
        f"@asset(partitions=days)\ndef a{index}(a{index - 1}: str) -> str:\n    return a{index - 1}"
        for index in range(1, 100)
    ]
    (root / "light_assets.py").write_text("\n".join([*lines, "project = Project.from_module(__name__)"]))
    (root / "assetline.toml").write_text('project = "light_assets"\n')
    nothing = command_cpu_s(python("-c", "pass"))
    listed = command_cpu_s(python(*COMMAND, "list", "--json"), cwd=root)
    # a configuration with tables is checked by the schema, which has to be imported
    (root / "assetline.toml").write_text('project = "light_assets"\n[env.dev]\ndurability = "os"\n')
    with_tables = command_cpu_s(python(*COMMAND, "list", "--json"), cwd=root)
    return [
        within(
            "list_start_up",
            listed / nothing,
            "x python -c pass",
            20.0,
            ms=listed * 1e3,
            pass_ms=nothing * 1e3,
        ),
        within(
            "list_start_up_tables",
            with_tables / nothing,
            "x python -c pass",
            20.0,
            ms=with_tables * 1e3,
            pass_ms=nothing * 1e3,
        ),
    ]


@benchmark
def fresh_materialize() -> list[Result]:
    """A second `materialize` over 10,000 fresh asset partitions, beyond what the project's own imports cost."""
    root = fresh_folder()
    (root / "fresh_assets.py").write_text(
        "from assets_core import HourlyPartitions, Project, asset\n"
        "hours = HourlyPartitions('2024-01-01', '2024-07-27T08:00')\n"
        "@asset(partitions=hours)\ndef source() -> str:\n    return 'x'\n"
        "@asset(partitions=hours)\ndef derived(source: str) -> str:\n    return source\n"
        "project = Project.from_module(__name__)\n"
    )
    (root / "assetline.toml").write_text('project = "fresh_assets"\n[env.dev]\ndurability = "os"\n')
    first = subprocess.run(
        python(*COMMAND, "materialize", "--yes", "--json"),
        cwd=root,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    made = json.loads(first.stdout)["steps"]["succeeded"]
    again = command_cpu_s(python(*COMMAND, "materialize", "--yes", "--json"), cwd=root, runs=3)
    imports = command_cpu_s(python("-c", "import fresh_assets"), cwd=root, runs=3)
    return [
        within(
            "fresh_materialize",
            again - imports,
            "s CPU",
            1.0,
            partitions=made,
            cpu_s=again,
            imports_cpu_s=imports,
        )
    ]
