"""What users do wrong, and what happens around them: each is said in a sentence, and nothing is half written."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assets_core.state.store import StateStore
from tests.support.servers import S3Root, S3Server
from tests.ui.conftest import Shop

WriteShop = Callable[[str], Shop]

HEADER = """
import os
import sys
import time
from pathlib import Path

from pydantic import BaseModel

from assets_core import CheckResult, Context, DailyPartitions, In, Project, StaticPartitions, asset, asset_check

letters = StaticPartitions(["a", "b", "c", "d"])
"""

FOOTER = "\nproject = Project.from_module(__name__)\n"


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def records(shop: Shop) -> set[str]:
    """Paths of all versions in the log."""
    return {name for name in files_below(shop.folder / ".assetline") if name.startswith("storage/log/")}


def command(shop: Shop, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "from ui.cli.main import run; run()", *arguments],
        cwd=shop.folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finish(process: subprocess.Popen[str], timeout_s: float = 60) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=timeout_s)
    finally:
        process.kill()
    return process.returncode, out, err


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[str], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def error_of(shop: Shop, *arguments: str, code: int) -> dict[str, str]:
    """The error that a command ends with; also printed for people in the same words."""
    error: dict[str, str] = shop.json(*arguments, code=code)["error"]
    text = shop.run(*arguments, code=code).stderr
    assert f"{error['kind']}[{error['code']}]: " in text
    assert error["do"]
    assert "Traceback" not in text
    return error


# -- partition keys --------------------------------------------------------------------------------------------------

KEYS = [
    "a/b",
    "..",
    ".",
    "../../escaped",
    "/absolute",
    "a%2Fb",
    "%",
    "nul\0byte",
    "line\nbreak",
    "x" * 300,
    "\N{ROCKET}\N{SNOWMAN}",
    "C:\\windows",
    "~",
    "a,b",
    "a..b",
    "latest",
    "--json",
    " blanks ",
    "é",
    "e\u0301",
]

KEYED = f"""
@asset(partitions=StaticPartitions({KEYS!r}))
def keyed(context: Context) -> dict:
    return {{"key": context.partition}}
"""


def test_any_text_can_be_a_partition_key_and_stays_inside_the_storage(write_shop: WriteShop) -> None:
    shop = write_shop(HEADER + KEYED + FOOTER)
    before = files_below(shop.folder)
    result = shop.json("materialize", "--yes")

    assert result["steps"]["succeeded"] == len(KEYS)
    new = files_below(shop.folder) - before
    assert {name for name in new if not name.startswith((".assetline/", "__pycache__/"))} == set()
    assert len(records(shop)) == len(KEYS)
    assert not (shop.folder.parent / "escaped").exists()
    (status,) = shop.json("status")
    assert (status["fresh"], status["missing"]) == (len(KEYS), 0)
    assert {row["partition"] for row in shop.json("history", "keyed")} == set(KEYS)
    assert shop.json("plan")["steps"] == []
    assert shop.run("history", "keyed").exit_code == 0


@pytest.mark.parametrize("key", KEYS)
def test_a_partition_of_any_key_can_be_named(write_shop: WriteShop, key: str) -> None:
    shop = write_shop(HEADER + KEYED + FOOTER)
    special = {
        "a,b": "a\\,b",
        "latest": "\\latest",
        " blanks ": "\\ blanks\\ ",
        "C:\\windows": "C:\\\\windows",
    }
    text = special.get(key, key)
    result = shop.json("materialize", "keyed", f"--partitions={text}")

    assert result["steps"]["succeeded"] == 1
    assert [row["partition"] for row in shop.json("history", "keyed")] == [key]
    assert shop.json("load", "keyed", f"--partitions={text}") in ({"key": key}, {key: {"key": key}})
    assert shop.json("history", "keyed", f"--partitions={key}")[0]["partition"] == key


DAILY = """
@asset(partitions=DailyPartitions("2024-01-01", "2024-02-01"))
def daily() -> dict:
    return {}


@asset
def single() -> dict:
    return {}
"""


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (
            ("daily", "-p", "2024-01-05..2024-01-02"),
            "partitions-backwards",
            "turn it around: 2024-01-02..2024-01-05",
        ),
        (("daily", "-p", "2025-01-01"), "partitions-outside", "2024-01-01"),
        (("daily", "-p", "../../etc/passwd"), "partitions-invalid", "dates like"),
        (("daily", "-p", "2024-01-01\0"), "partitions-invalid", "dates like"),
        (("daily", "-p", "9" * 400), "partitions-invalid", "dates like"),
        (("daily", "-p", ""), "partitions-invalid", "all"),
        (("daily", "-p", "latst"), "partitions-invalid", "latest"),
        (("daily", "-p", "latest:0"), "partitions-invalid", "at least 1"),
        (("daily", "-p", "2024-02-30"), "partitions-invalid", "day"),
        (("single", "-p", "2024-01-01"), "partitions-none", "leave --partitions out"),
        (("dialy",), "asset-not-found", "daily"),
        (("group:none",), "selection-empty", "group:none"),
        (("daily,single",), "selection-empty", "loosen"),
        (("tga:x",), "selection-invalid", "tag"),
    ],
)
def test_a_request_that_cannot_be_meant_is_refused_and_writes_nothing(
    write_shop: WriteShop, arguments: tuple[str, ...], code: str, text: str
) -> None:
    shop = write_shop(HEADER + DAILY + FOOTER)
    for name in ("plan", "materialize"):
        error = error_of(shop, name, *arguments, code=2)
        assert error["code"] == code
        assert text in " ".join(error.values())
    assert records(shop) == set()
    assert shop.json("runs", "list") == []


@pytest.mark.parametrize("name", ["load", "history"])
def test_reading_a_partition_that_is_not_there_is_refused(write_shop: WriteShop, name: str) -> None:
    shop = write_shop(HEADER + DAILY + FOOTER)

    assert error_of(shop, name, "daily", "-p", "2025-01-01", code=2)["code"] in (
        "partitions-outside",
        "partition-not-found",
    )
    assert error_of(shop, name, "dialy", code=2)["code"] == "asset-not-found"
    assert error_of(shop, "load", "daily", "-p", "2024-01-01", code=2)["code"] == "nothing-published"


# -- configuration ---------------------------------------------------------------------------------------------------

CONFIGURED = """
class Limit(BaseModel):
    top: int = 3


@asset
def limited(config: Limit) -> dict:
    return {"top": config.top}
"""


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("materialize", "--env", "prodd"), "environment-not-found", "prod"),
        (("materialize", "--branch", "pr-1"), "branch-not-found", "main"),
        (("materialize", "--config", "limited.tpo=1"), "run-config-bad", "top"),
        (("materialize", "--config", "limited.top=many"), "run-config-bad", "integer"),
        (("materialize", "--config", "limted.top=1"), "run-config-unknown-asset", "limited"),
        (("materialize", "--executor", "proceses"), "executor-unknown", "processes"),
        (("materialize", "--project", "no_such_module"), "project-not-found", "no_such_module"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(
    write_shop: WriteShop, arguments: tuple[str, ...], code: str, text: str
) -> None:
    shop = write_shop(HEADER + CONFIGURED + FOOTER)
    with (shop.folder / "assetline.toml").open("a") as stream:
        stream.write('\n[env.prod]\nstorage = "memory://x"\n')
    error = error_of(shop, *arguments, code=2)

    assert error["code"] == code
    assert text in " ".join(error.values())
    assert records(shop) == set()


@pytest.mark.parametrize("arguments", [("--config", "limited"), ("--workers", "0"), ("--nope",)])
def test_bad_usage_is_one_document_on_stdout_too(write_shop: WriteShop, arguments: tuple[str, ...]) -> None:
    shop = write_shop(HEADER + CONFIGURED + FOOTER)

    assert shop.json("materialize", *arguments, code=2)["error"]["kind"] == "UsageError"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('[env.dev]\nstorag = "x"', "storage"),
        ("[env.dev.resource.x]\na = 1", "resources"),
        ('[env.dev]\nexecutor = { kind = "inlin" }', "inline"),
        ("[env.dev]\ndurability = 'none'", "durability"),
        ("project = ", "assetline.toml"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(write_shop: WriteShop, line: str, text: str) -> None:
    shop = write_shop(HEADER + CONFIGURED + FOOTER)
    config = f'project = "{shop.module}"\n{line}\n' if not line.startswith("project") else line
    (shop.folder / "assetline.toml").write_text(config)
    error = error_of(shop, "materialize", code=2)

    assert error["kind"] == "ConfigError"
    assert text in " ".join(error.values())
    assert records(shop) == set()


def test_an_unknown_variable_of_the_environment_is_named(
    write_shop: WriteShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = write_shop(HEADER + CONFIGURED + FOOTER)
    monkeypatch.setenv("ASSETLINE_DEFALT_ENV", "dev")
    error = error_of(shop, "materialize", code=2)

    assert error["kind"] == "ConfigError"
    assert "ASSETLINE_DEFALT_ENV" in error["what"] + error["why"]
    assert "ASSETLINE_DEFAULT_ENV" in " ".join(error.values())


# -- exit codes ------------------------------------------------------------------------------------------------------

ENDS = """
print("printed while the project is imported")


@asset
def good() -> dict:
    print("printed by an asset")
    os.write(1, b"written past Python\\n")
    return {"a": 1}


@asset
def bad() -> dict:
    print("printed before it fails")
    raise ValueError("it is bad")


@asset
def gated() -> dict:
    return {}


@asset_check(asset="gated")
def gate(gated: dict) -> CheckResult:
    print("printed by a check")
    return CheckResult(False, "1 thing", "0 things")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (("materialize", "good"), 0, "succeeded"),
        (("materialize", "bad"), 1, "failed"),
        (("materialize", "gated"), 3, "blocked"),
        (("materialize", "--keep-going"), 1, "failed"),
        (("materialize", "gated", "--executor", "processes", "--workers", "1"), 3, "blocked"),
        (("materialize", "nothing"), 2, None),
        (("materialize", "--nope"), 2, None),
    ],
)
def test_a_command_ends_with_its_code_and_one_document(
    write_shop: WriteShop, arguments: tuple[str, ...], code: int, status: str | None
) -> None:
    shop = write_shop(HEADER + ENDS + FOOTER)
    found, out, err = finish(command(shop, *arguments, "--json"))

    assert found == code, err
    assert len(out.splitlines()) == 1
    document = json.loads(out)
    assert document.get("status") == status
    assert ("error" in document) == (status is None)
    assert "printed" in err or code == 2


def test_a_gate_that_still_blocks_still_says_so(write_shop: WriteShop) -> None:
    shop = write_shop(HEADER + ENDS + FOOTER)
    assert shop.json("materialize", "gated", code=3)["steps"]["blocked"] == 1

    again = shop.json("materialize", "gated", code=3)
    assert (again["status"], again["steps"]["blocked"]) == ("blocked", 1)
    assert shop.json("history", "gated") == []


def test_a_project_that_cannot_be_imported_says_where(write_shop: WriteShop) -> None:
    shop = write_shop(HEADER + "\n1 / 0\n" + FOOTER)
    error = error_of(shop, "materialize", code=2)

    assert error["code"] == "project-import-failed"
    assert "ZeroDivisionError" in error["why"]
    assert not (shop.folder / ".assetline").exists()


def test_a_project_that_exits_while_it_is_imported_is_a_broken_project(write_shop: WriteShop) -> None:
    shop = write_shop(HEADER + "\nsys.exit(0)\n" + FOOTER)

    assert error_of(shop, "materialize", code=2)["code"] == "project-import-failed"


# -- storage and state -----------------------------------------------------------------------------------------------


def configure(shop: Shop, **settings: str) -> None:
    lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
    (shop.folder / "assetline.toml").write_text(
        f'project = "{shop.module}"\n[env.dev]\ndurability = "os"\n{lines}'
    )


def test_storage_below_a_file_is_refused_by_name(write_shop: WriteShop) -> None:
    shop = write_shop(HEADER + DAILY + FOOTER)
    (shop.folder / "plain").write_text("a file")
    configure(shop, storage='"file://plain/storage"')
    error = error_of(shop, "materialize", "single", code=1)

    assert error["kind"] == "StorageError"
    assert "plain" in error["what"] + error["why"]
    assert (shop.folder / "plain").read_text() == "a file"


def test_state_below_a_file_is_refused_by_name(write_shop: WriteShop) -> None:
    shop = write_shop(HEADER + DAILY + FOOTER)
    (shop.folder / "plain").write_text("a file")
    configure(shop, state='"sqlite:///plain/state.db"')
    error = error_of(shop, "materialize", "single", code=1)

    assert error["kind"] == "StateError"
    assert "plain" in error["what"] + error["why"]
    assert records(shop) == set()


def test_a_locked_state_is_waited_for_and_then_named(
    write_shop: WriteShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = write_shop(HEADER + DAILY + FOOTER)
    shop.run("materialize", "single")
    before = records(shop)
    original = StateStore.open.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        StateStore,
        "open",
        classmethod(lambda cls, url, **options: original(cls, url, **{**options, "timeout_s": 0.05})),
    )
    path = shop.folder / ".assetline" / "state.db"
    with sqlite3.connect(path, isolation_level=None) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        error = error_of(shop, "materialize", "single", "--force", code=1)
        holder.execute("ROLLBACK")
    holder.close()

    assert error["code"] == "state-locked"
    assert str(path) in " ".join(error.values())
    assert records(shop) == before
    assert shop.json("materialize", "single", "--force")["status"] == "succeeded"


@pytest.mark.parametrize("damage", ["truncated", "overwritten", "emptied"])
def test_a_damaged_state_is_named_and_can_be_moved_away(write_shop: WriteShop, damage: str) -> None:
    shop = write_shop(HEADER + DAILY + FOOTER)
    shop.run("materialize", "daily", "-p", "2024-01-01..2024-01-03")
    before = shop.json("plan")
    path = shop.folder / ".assetline" / "state.db"
    for extra in ("-wal", "-shm"):
        path.with_name(path.name + extra).unlink(missing_ok=True)
    raw = path.read_bytes()
    path.write_bytes(
        {"truncated": raw[: len(raw) // 2], "overwritten": b"x" * len(raw), "emptied": b""}[damage]
    )
    if damage != "emptied":
        error = error_of(shop, "materialize", code=1)
        assert error["kind"] == "StateError"
        assert "move" in error["do"]
        assert len(records(shop)) == 3
        path.unlink()
        for extra in ("-wal", "-shm"):
            path.with_name(path.name + extra).unlink(missing_ok=True)

    assert shop.json("plan") == before
    assert len(shop.json("history", "daily")) == 3


def test_a_deleted_state_loses_nothing_that_was_published(write_shop: WriteShop) -> None:
    shop = write_shop(HEADER + DAILY + FOOTER)
    shop.run("materialize", "daily", "-p", "2024-01-01..2024-01-03")
    before = (shop.json("plan"), shop.json("history", "daily"))
    for path in (shop.folder / ".assetline").glob("state.db*"):
        path.unlink()

    assert (shop.json("plan"), shop.json("history", "daily")) == before
    assert shop.json("materialize", "daily", "-p", "2024-01-01..2024-01-03")["steps"]["succeeded"] == 0


@pytest.mark.slow
@pytest.mark.s3
def test_a_bucket_that_refuses_the_key_is_named_without_the_secret(
    write_shop: WriteShop, seaweed: S3Server, seaweed_root: S3Root
) -> None:
    shop = write_shop(HEADER + DAILY + FOOTER)
    storage = (
        f'{{ url = "{seaweed_root.url}", endpoint_url = "{seaweed.endpoint_url}", '
        'key = "test", secret = "wrong-secret" }'
    )
    configure(shop, storage=storage)
    error = error_of(shop, "materialize", "single", code=1)

    assert error["kind"] == "StorageError"
    assert seaweed_root.url.partition("//")[2].partition("/")[0] in " ".join(error.values())
    assert "wrong-secret" not in json.dumps(error)


@pytest.mark.slow
@pytest.mark.s3
def test_a_bucket_that_cannot_be_reached_is_given_up_in_time(write_shop: WriteShop) -> None:
    shop = write_shop(HEADER + DAILY + FOOTER)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        storage = f'{{ url = "s3://bucket/root", endpoint_url = "http://127.0.0.1:{port}", key = "a", secret = "b" }}'
        configure(shop, storage=storage)
        began = time.monotonic()
        error = shop.json("materialize", "single", code=1)["error"]

    assert time.monotonic() - began < 30
    assert error["kind"] == "StorageError"
    assert f"127.0.0.1:{port}" in " ".join(error.values())


# -- interruptions ---------------------------------------------------------------------------------------------------

SLOW = """
@asset(partitions=letters)
def slow(context: Context) -> dict:
    Path(f"began-{context.partition}").touch()
    while not Path("go").exists():
        time.sleep(0.01)
    return {}


@asset
def endless() -> dict:
    Path("began-endless").touch()
    while True:
        time.sleep(0.01)


@asset
def together() -> dict:
    Path(f"began-{os.getpid()}").touch()
    while len(list(Path().glob("began-*"))) < 2:
        time.sleep(0.01)
    return {"a": 1}
"""


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_an_interrupted_run_ends_its_steps_and_the_next_does_the_rest(
    write_shop: WriteShop, executor: str
) -> None:
    shop = write_shop(HEADER + SLOW + FOOTER)
    process = command(shop, "materialize", "slow", "--json", "--executor", executor, "--workers", "1")
    wait_until((shop.folder / "began-a").exists, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    (shop.folder / "go").touch()
    code, out, err = finish(process)

    assert code == 130, err
    document = json.loads(out)
    assert document["status"] == "cancelled"
    done = document["steps"]["succeeded"]
    assert 1 <= done < 4
    assert document["steps"]["cancelled"] == 4 - done
    (run,) = shop.json("runs", "list")
    assert (run["status"], run["steps"]["cancelled"]) == ("cancelled", 4 - done)
    assert len(records(shop)) == done
    rest = shop.json("materialize", "slow")
    assert (rest["status"], rest["steps"]["succeeded"]) == ("succeeded", 4 - done)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_a_second_interrupt_stops_a_step_that_never_ends(write_shop: WriteShop, executor: str) -> None:
    shop = write_shop(HEADER + SLOW + FOOTER)
    process = command(shop, "materialize", "endless", "--json", "--executor", executor)
    wait_until((shop.folder / "began-endless").exists, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None, "the first lets the step finish"
    process.send_signal(signal.SIGINT)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:  # on a starved machine the system may have made one signal of the two
        process.send_signal(signal.SIGINT)
    code, out, err = finish(process)

    assert code == 130, err
    assert json.loads(out)["steps"]["cancelled"] == 1
    assert [run["status"] for run in shop.json("runs", "list")] == ["cancelled"]
    assert records(shop) == set()
    assert [step["reason"] for step in shop.json("plan", "endless")["steps"]] == ["missing"]


@pytest.mark.slow
def test_two_commands_at_once_publish_one_version(write_shop: WriteShop) -> None:
    shop = write_shop(HEADER + SLOW + FOOTER)
    processes = [command(shop, "materialize", "together", "--json") for _ in range(2)]
    ends = [finish(process) for process in processes]

    assert [code for code, _, _ in ends] == [0, 0], ends
    assert sorted(
        (count, state) for _, out, _ in ends for state, count in json.loads(out)["steps"].items() if count
    ) in ([(1, "succeeded"), (1, "unchanged")], [(1, "succeeded"), (1, "succeeded")])
    history = shop.json("history", "together")
    assert len({row["data_version"] for row in history}) == 1
    assert shop.json("load", "together") == {"a": 1}
    assert shop.json("plan", "together")["steps"] == []
    assert sorted(run["status"] for run in shop.json("runs", "list")) == ["succeeded", "succeeded"]
