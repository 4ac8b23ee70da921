"""`list` and `show`: what the project defines. Nothing heavier than the project itself is imported."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ui.cli.options import AssetlineCommand, GlobalOptions, current_options, key_argument, select_argument

if TYPE_CHECKING:
    from assets_core.definition.asset import Asset
    from assets_core.project.project import Project


@click.command("list", cls=AssetlineCommand)
@select_argument
def list_assets(select: tuple[str, ...]) -> None:
    """List the assets, all or those that SELECT picks.

    SELECT: names and globs (raw/*), group:raw, tag:tier=critical, kind:python, owner:x, state:stale, graph steps
    +x, x+, 2+x+1; several unite, `,` intersects, `!x` takes away.
    """
    from ui.cli.opening import open_project, open_stored_keys
    from ui.cli.output import write_json
    from ui.read import build_asset

    options = current_options()
    project, settings = open_project(options)
    now, stored = dt.datetime.now(dt.UTC), open_stored_keys(project, settings, options)
    rows = [
        build_asset(project.assets[key], project, now, stored) for key in _select(project, select, options)
    ]
    if options.json:
        write_json(rows)
    else:
        _print_assets(rows)


def _select(project: Project, select: Sequence[str], options: GlobalOptions) -> list[str]:
    if not select:
        return list(project.assets)
    from assets_core.project.selection import select_assets

    if not any("state:" in expression for expression in select):
        return select_assets(project, select, None)
    from ui.cli.opening import open_session

    with open_session(options) as session:
        return session.select(select)


def _print_assets(rows: Sequence[dict[str, Any]]) -> None:
    from ui.cli.output import print_line, print_table
    from ui.cli.text import format_count

    print_table(
        ["asset", "group", "partitions", "depends on", "checks", "description"],
        [
            (
                row["key"],
                row["group"] or "",
                f"{row['partitions']['count']:,} {row['partitions']['kind']}" if row["partitions"] else "",
                ", ".join(row["deps"]),
                str(len(row["checks"]) or ""),
                row["description"].partition("\n")[0],
            )
            for row in rows
        ],
        right=["checks"],
        fixed=["asset", "partitions"],
    )
    print_line(format_count(len(rows), "asset"))


@click.command(cls=AssetlineCommand)
@key_argument
def show(key: str) -> None:
    """Show one asset in full: where it is defined, what it reads, its partitions, contract and checks."""
    from ui.cli.opening import open_project, open_stored_keys
    from ui.cli.output import write_json
    from ui.read import build_asset_detail

    options = current_options()
    project, settings = open_project(options)
    asset = project.require(key)
    stored = open_stored_keys(project, settings, options)
    row = build_asset_detail(asset, project, dt.datetime.now(dt.UTC), settings.config.get(key, {}), stored)
    row["code"] = _build_code(asset)
    if options.json:
        write_json(row)
    else:
        _print_asset(row)


def _build_code(asset: Asset) -> dict[str, Any] | None:
    """The code version and what it covers; None for an asset that is not computed."""
    if asset.function is None:
        return None
    from assets_core.planning.code_versions import asset_code_version

    version = asset_code_version(asset)
    covers = [{"kind": part.kind, "name": part.name, "where": part.where} for part in version.covers]
    return {"version": version.hash, "covers": covers}


def _print_asset(row: dict[str, Any]) -> None:
    from ui.cli.output import print_fields, print_line, print_table
    from ui.cli.table import Styled
    from ui.cli.text import format_duration

    partitions, code = row["partitions"], row["code"]
    print_line(Styled(row["key"], "bold"))
    if row["description"]:
        print_line(row["description"])
    print_line()
    print_fields(
        [
            ("kind", row["kind"]),
            ("defined at", row["source"]),
            ("group", row["group"] or ""),
            ("owner", row["owner"] or ""),
            ("tags", ", ".join(f"{name}={value}" for name, value in row["tags"].items())),
            (
                "partitions",
                f"{partitions['count']:,} ({partitions['signature']})"
                + (f", {partitions['first']} .. {partitions['last']}" if partitions["count"] else "")
                if partitions
                else "",
            ),
            (
                "output",
                f"{row['output'] or 'not annotated'}, stored as {row['io_manager']}"
                if row["io_manager"]
                else "",
            ),
            ("order only", ", ".join(row["order_only"])),
            ("feeds", ", ".join(row["downstream"])),
            (
                "retries",
                f"up to {row['retries']['max_attempts']} attempts"
                if row["retries"]["max_attempts"] > 1
                else "",
            ),
            ("timeout", format_duration(row["timeout_s"]) if row["timeout_s"] is not None else ""),
            ("fresh within", format_duration(row["freshness_within_s"]) if row["freshness_within_s"] else ""),
            ("resources", ", ".join(f"{name}: {kind}" for name, kind in row["resources"].items())),
            ("config", _format_config(row)),
            ("code version", code["version"] if code else ""),
            ("it covers", _format_covers(code["covers"]) if code else ""),
        ]
    )
    if row["inputs"]:
        print_line()
        print_table(
            ["input", "asset", "partitions read", "columns", "if missing"],
            [
                (
                    item["parameter"],
                    item["asset"],
                    item["mapping"] or "",
                    ", ".join(item["columns"]) if item["columns"] is not None else "all",
                    item["missing"],
                )
                for item in row["inputs"]
            ],
            fixed=["input", "asset"],
        )
    if row["contract"]:
        print_line()
        print_table(
            [f"contract {row['contract']['model']}", "type", "null", "rules", "description"],
            [
                (
                    column["name"],
                    column["type"],
                    "yes" if column["nullable"] else "no",
                    _format_rules(column),
                    column.get("description", ""),
                )
                for column in row["contract"]["columns"]
            ],
        )
    if row["checks_detail"]:
        print_line()
        print_table(
            ["check", "severity", "blocking", "defined at"],
            [
                (
                    check["check"],
                    check["severity"],
                    "yes" if check["blocking"] else "no",
                    check["source"] or "",
                )
                for check in row["checks_detail"]
            ],
        )


def _format_covers(covers: Sequence[dict[str, str]]) -> str:
    lines = [
        f"{part['kind']} {part['name']}" + (f"  {part['where']}" if part["where"] else "")
        for part in covers
        if part["kind"] != "declared"
    ]
    declared = [part["name"] for part in covers if part["kind"] == "declared"]
    return "\n".join([*lines, *([f"declared: {', '.join(declared)}"] if declared else [])])


def _format_config(row: dict[str, Any]) -> str:
    import json

    values = ", ".join(f"{name} = {json.dumps(value, default=str)}" for name, value in row["config"].items())
    if not row["config_model"]:
        return values
    return f"{row['config_model']}: {values or 'defaults'}"


def _format_rules(column: dict[str, Any]) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    plain = {"name", "type", "nullable", "description"}
    return ", ".join(
        "unique" if name == "unique" else f"{signs[name]} {value}" if name in signs else f"{name} {value}"
        for name, value in column.items()
        if name not in plain
    )
