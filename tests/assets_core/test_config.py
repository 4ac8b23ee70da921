"""The configuration: where it is found, what overrides it, and how each fault in it is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets_core.errors import ConfigError
from assets_core.project import config as config_module
from assets_core.project.config import (
    EnvironmentSettings,
    ProjectSettings,
    absolute_url,
    find_config,
    load_settings,
    redact_url,
    resolve_secrets,
)
from assets_core.project.config_schema import validate_config
from tests.support.profiles import scale

TYPICAL = """
project = "example_project.definitions"
default_env = "dev"

[env.dev]
storage = "file://.assetline/storage"
state = "sqlite:///.assetline/state.db"
executor = { kind = "processes", workers = 2 }
durability = "os"

[env.prod]
storage = { url = "s3://warehouse/prod", endpoint_url = "${env:S3_ENDPOINT}" }
executor = { kind = "dask", address = "tcp://scheduler:8786" }

[env.prod.resources.api]
token = "${file:secrets/token}"

[env.prod.checks]
sample_rows = 3

[config."mart/daily"]
threshold = 5
"""


def load(folder: Path, text: str | None = None, environ: dict[str, str] | None = None) -> ProjectSettings:
    if text is not None:
        (folder / "assetline.toml").write_text(text)
    return load_settings(folder, environ or {})


def fault(folder: Path, text: str, environ: dict[str, str] | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, environ)
    assert caught.value.do and len(str(caught.value).splitlines()) < 12
    return caught.value


def test_without_configuration_there_is_a_folder_in_the_working_directory(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert (settings.project, settings.default_env, settings.file) == (None, "dev", None)
    assert (settings.root, settings.search_paths) == (tmp_path, (str(tmp_path),))
    dev = settings.environments["dev"]
    assert dev.storage_url == f"file://{tmp_path}/.assetline/storage"
    assert dev.state_url == f"sqlite:///{tmp_path}/.assetline/state.db"
    assert (dev.executor, dev.durability) == ({"kind": "inline"}, "fsync")
    assert (dev.storage_options, dev.resources, dev.checks) == ({}, {}, {})


def test_a_typical_configuration_is_read_whole(tmp_path: Path) -> None:
    settings = load(tmp_path, TYPICAL)
    assert settings.project == "example_project.definitions"
    assert settings.file == tmp_path / "assetline.toml"
    assert sorted(settings.environments) == ["dev", "prod"]
    dev, prod = settings.environments["dev"], settings.environments["prod"]
    assert dev.executor == {"kind": "processes", "workers": 2} and dev.durability == "os"
    assert prod.storage_url == "s3://warehouse/prod"
    assert prod.storage_options == {"endpoint_url": "${env:S3_ENDPOINT}"}
    assert prod.executor == {"kind": "dask", "address": "tcp://scheduler:8786"}
    assert prod.resources == {"api": {"token": f"${{file:{tmp_path}/secrets/token}}"}}
    assert prod.checks == {"sample_rows": 3}
    assert settings.config == {"mart/daily": {"threshold": 5}}


def test_environments_without_places_of_their_own_do_not_share_any(tmp_path: Path) -> None:
    environments = load(tmp_path, "[env.ci]\nexecutor = 'threads'\n[env.staging]\n").environments
    assert sorted(environments) == ["ci", "dev", "staging"]
    assert len({item.storage_url for item in environments.values()}) == 3
    assert len({item.state_url for item in environments.values()}) == 3
    assert environments["ci"].executor == {"kind": "threads"}


def test_the_nearest_file_upward_counts_and_others_pyprojects_do_not(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_config(below) is None
    (tmp_path / "pyproject.toml").write_text('[tool.assetline]\nproject = "top"\n')
    (tmp_path / "a" / "pyproject.toml").write_text('[project]\nname = "assetline-shop"\n')
    assert find_config(below) == tmp_path / "pyproject.toml"
    assert load_settings(below, {}).project == "top"
    assert load_settings(below, {}).root == tmp_path
    (tmp_path / "a" / "assetline.toml").write_text('project = "near"\n')
    assert load_settings(below, {}).project == "near"


def test_a_broken_pyproject_of_somebody_else_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.ruff\n")
    assert find_config(tmp_path) is None


def test_two_configurations_in_one_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.assetline]\n")
    assert fault(tmp_path, "").code == "config-ambiguous"


def test_relative_paths_start_from_the_file(tmp_path: Path) -> None:
    below = tmp_path / "deep"
    below.mkdir()
    (tmp_path / "assetline.toml").write_text(
        'search_paths = ["src", "/abs", "."]\n[env.dev]\nstorage = "data/x"\nstate = "sqlite:///s.db"\n'
    )
    settings = load_settings(below, {})
    dev = settings.environments["dev"]
    assert (dev.storage_url, dev.state_url) == (f"file://{tmp_path}/data/x", f"sqlite:///{tmp_path}/s.db")
    assert settings.search_paths == (str(tmp_path / "src"), "/abs", str(tmp_path))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("file://x/y", "file:///r/x/y"),
        ("file:///x", "file:///x"),
        ("x", "file:///r/x"),
        ("/x", "file:///x"),
        ("sqlite:///x.db", "sqlite:////r/x.db"),
        ("sqlite:////x.db", "sqlite:////x.db"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("memory://a", "memory://a"),
        ("${env:URL}", "${env:URL}"),
        ("~/data", f"file://{Path.home()}/data"),
        ("", ""),
    ],
)
def test_only_relative_file_paths_are_taken_from_the_root(url: str, expected: str) -> None:
    assert absolute_url(url, Path("/r")) == expected
    assert absolute_url(expected, Path("/r")) == expected


@pytest.mark.parametrize(
    ("text", "key", "table", "nearest"),
    [
        ('projct = "x"', "projct", "the top level", "project"),
        ('default_environment = "x"', "default_environment", "the top level", "default_env"),
        ('[environment.dev]\nstorage = "x"', "environment", "the top level", ""),
        ('[env.dev]\nstorge = "x"', "storge", "[env.dev]", "storage"),
        ('[env.dev]\nstate_url = "x"', "state_url", "[env.dev]", "state"),
        ('[env.dev]\nexecutr = "x"', "executr", "[env.dev]", "executor"),
        ("[env.dev]\nressources = {}", "ressources", "[env.dev]", "resources"),
        ('[env.dev]\nexecutor = { kind = "threads", worker = 3 }', "worker", "[env.dev.executor]", "workers"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(
    tmp_path: Path, text: str, key: str, table: str, nearest: str
) -> None:
    error = fault(tmp_path, text)
    assert error.code == "config-unknown-key"
    assert f"unknown key '{key}' in {table}" in error.what and str(tmp_path / "assetline.toml") in error.what
    assert (f"nearest: {nearest}." in error.why) if nearest else ("nearest" not in error.why)


def test_tables_of_a_pyproject_are_named_as_they_are_written_there(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.assetline.env.dev]\nstorge = 'x'\n")
    with pytest.raises(ConfigError, match=r"\[tool\.assetline\.env\.dev\] of .*pyproject\.toml"):
        load_settings(tmp_path, {})


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("project = 3.5\n[env.dev]\ndurability = 'fsyn'", "env.dev.durability"),
        ("[env.dev]\nexecutor = { workers = 0 }", "env.dev.executor.workers"),
        ("[env.dev]\nexecutor = { workers = 'many' }", "env.dev.executor.workers"),
        ("[env.dev]\nstorage = 7", "env.dev.storage"),
        ("[env]\ndev = 'x'", "env.dev"),
        ("env = 1", "env"),
        ("search_paths = 'src'", "search_paths"),
        ("[env.dev.resources]\napi = 1", "env.dev.resources.api"),
        ("[config.'a b']\nx = 1", "'a b' cannot be the key of an asset"),
        ("config.orders = 1", "config.orders"),
    ],
)
def test_a_wrong_value_is_refused_by_its_place(tmp_path: Path, text: str, where: str) -> None:
    error = fault(tmp_path, text)
    assert error.code == "config-invalid" and where in error.what
    assert str(tmp_path / "assetline.toml") in error.what


def test_all_faults_are_named_at_once_without_their_values(tmp_path: Path) -> None:
    error = fault(
        tmp_path, "projct = 'hunter2'\n[env.dev]\nstorge = 'hunter2'\nexecutor = {workers = 'hunter2'}"
    )
    assert all(name in str(error) for name in ("projct", "storge", "workers"))
    assert "hunter2" not in str(error)


def test_a_syntax_error_is_reported_with_its_line(tmp_path: Path) -> None:
    error = fault(tmp_path, 'project = "x"\n[env.dev\n')
    assert error.code == "config-syntax" and "line 2" in error.why and "assetline.toml" in error.what


def test_bytes_that_are_no_text_are_a_syntax_error(tmp_path: Path) -> None:
    (tmp_path / "assetline.toml").write_bytes(b"project = '\xff'")
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path, {})
    assert caught.value.code == "config-syntax"


def test_a_section_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool]\nassetline = 3\n")
    with pytest.raises(ConfigError, match="not a table"):
        load_settings(tmp_path, {})


def test_an_unknown_default_environment_is_refused_with_the_nearest(tmp_path: Path) -> None:
    error = fault(tmp_path, "default_env = 'prdo'\n[env.prod]\n")
    assert error.code == "environment-not-found" and "nearest: prod" in error.why


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("ASSETLINE_PROJECT", "other.module", lambda s: s.project == "other.module"),
        ("ASSETLINE_DEFAULT_ENV", "prod", lambda s: s.default_env == "prod"),
        ("ASSETLINE_SEARCH_PATHS", '["/x"]', lambda s: s.search_paths == ("/x",)),
        ("ASSETLINE_ENV__DEV__STORAGE", "s3://b", lambda s: s.environments["dev"].storage_url == "s3://b"),
        (
            "ASSETLINE_ENV__DEV__STORAGE__ENDPOINT_URL",
            "http://x",
            lambda s: (
                s.environments["dev"].storage_options == {"endpoint_url": "http://x"}
                and s.environments["dev"].storage_url.endswith(".assetline/storage")
            ),
        ),
        ("ASSETLINE_ENV__DEV__DURABILITY", "fsync", lambda s: s.environments["dev"].durability == "fsync"),
        (
            "ASSETLINE_ENV__DEV__EXECUTOR",
            "threads",
            lambda s: s.environments["dev"].executor == {"kind": "threads"},
        ),
        (
            "ASSETLINE_ENV__DEV__EXECUTOR__WORKERS",
            "8",
            lambda s: s.environments["dev"].executor["workers"] == 8,
        ),
        (
            "ASSETLINE_ENV__PROD__RESOURCES__API__TOKEN",
            '"123"',
            lambda s: s.environments["prod"].resources == {"api": {"token": "123"}},
        ),
        (
            "ASSETLINE_ENV__NEW",
            "{ executor = 'threads' }",
            lambda s: "new" in s.environments and s.environments["new"].executor == {"kind": "threads"},
        ),
        (
            "ASSETLINE_CONFIG__ORDERS__THRESHOLD",
            "1.5",
            lambda s: s.config.get("orders") == {"threshold": 1.5},
        ),
        ("ASSETLINE_CONFIG__ORDERS__FLAG", "true", lambda s: s.config.get("orders") == {"flag": True}),
        (
            "ASSETLINE_CONFIG__ORDERS__NAME",
            "two words",
            lambda s: s.config.get("orders") == {"name": "two words"},
        ),
    ],
)
def test_an_environment_variable_overrides_the_file(
    tmp_path: Path, variable: str, value: str, expected: Any
) -> None:
    assert not expected(load(tmp_path, TYPICAL))
    assert expected(load(tmp_path, None, {variable: value}))


def test_overrides_find_keys_whatever_their_case_and_dashes(tmp_path: Path) -> None:
    settings = load(tmp_path, "[env.My-Env]\n", {"ASSETLINE_ENV__MY_ENV__EXECUTOR": "threads"})
    assert sorted(settings.environments) == ["My-Env", "dev"]
    assert settings.environments["My-Env"].executor == {"kind": "threads"}


def test_overrides_work_without_a_file(tmp_path: Path) -> None:
    settings = load(tmp_path, None, {"ASSETLINE_PROJECT": "x", "HOME": "/", "ASSETLINE_TOKEN_OF_MINE": "y"})
    assert settings.project == "x" and settings.file is None


def test_a_wider_override_does_not_undo_a_narrower_one(tmp_path: Path) -> None:
    environ = {"ASSETLINE_ENV__DEV__EXECUTOR__WORKERS": "8", "ASSETLINE_ENV__DEV__EXECUTOR": "threads"}
    assert load(tmp_path, TYPICAL, environ).environments["dev"].executor == {"kind": "threads", "workers": 8}


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("ASSETLINE_DEFAULT_EVN", "ASSETLINE_DEFAULT_ENV"),
        ("ASSETLINE_PROJCT", "ASSETLINE_PROJECT"),
        ("ASSETLINE_ENVS__DEV__STATE", "ASSETLINE_ENV__DEV__STATE"),
    ],
)
def test_a_variable_that_nearly_names_a_setting_is_refused(
    tmp_path: Path, variable: str, nearest: str
) -> None:
    error = fault(tmp_path, "", {variable: "x"})
    assert error.code == "override-unknown" and nearest in error.do


def test_a_fault_in_an_override_names_the_variable_not_the_file(tmp_path: Path) -> None:
    error = fault(tmp_path, TYPICAL, {"ASSETLINE_ENV__DEV__STORGE": "x"})
    assert "ASSETLINE_ENV__DEV__STORGE" in error.what and "assetline.toml" not in error.what
    assert "nearest: storage" in error.why
    error = fault(tmp_path, TYPICAL, {"ASSETLINE_ENV__DEV__EXECUTOR__WORKERS": "lots"})
    assert "ASSETLINE_ENV__DEV__EXECUTOR__WORKERS" in error.what
    error = fault(tmp_path, TYPICAL, {"ASSETLINE_ENV__DEV__STATE__X": "lots"})
    assert error.code == "override-invalid" and "env.dev.state is not a table" in error.why
    assert fault(tmp_path, TYPICAL, {"ASSETLINE_SEARCH_PATHS": "[1,"}).code == "override-invalid"


def test_references_are_resolved_in_texts_lists_and_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "s3cret")
    (tmp_path / "key").write_text("line\n\n")
    value = {
        "a": "x-${env:SHOP_TOKEN}-${env:SHOP_TOKEN}",
        "b": [f"${{file:{tmp_path}/key}}", 3, None],
        "c": ("$${env:SHOP_TOKEN}", "${PLAIN}", "$HOME"),
    }
    assert resolve_secrets(value) == {
        "a": "x-s3cret-s3cret",
        "b": ["line\n", 3, None],
        "c": ("${env:SHOP_TOKEN}", "${PLAIN}", "$HOME"),
    }


@pytest.mark.parametrize(
    ("reference", "code", "told"),
    [
        ("${env:NO_SUCH_VARIABLE}", "secret-missing", "NO_SUCH_VARIABLE"),
        ("${file:/no/such/file}", "secret-missing", "/no/such/file"),
        ("${file:/}", "secret-unreadable", "${file:/}"),
        ("${evn:X}", "secret-scheme-unknown", "nearest: env"),
    ],
)
def test_a_reference_that_leads_nowhere_is_named(reference: str, code: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_secrets({"x": [f"a{reference}b"]})
    assert caught.value.code == code and told in str(caught.value) and caught.value.do


@settings(max_examples=scale(30))
@given(
    st.recursive(
        st.text(st.characters(exclude_characters="$"), max_size=9) | st.integers() | st.none(), st.lists
    )
)
def test_values_without_references_come_back_unchanged(value: object) -> None:
    assert resolve_secrets(value) == value


def test_settings_never_show_credentials(tmp_path: Path) -> None:
    text = """
[env.dev]
storage = { url = "s3://user:hunter2@host/b", secret = "hunter2" }
state = "sqlite:///x.db?key=hunter2"
executor = { kind = "dask", address = "hunter2" }
[env.dev.resources.api]
token = "hunter2"
[config.orders]
token = "hunter2"
"""
    settings = load(tmp_path, text)
    assert "hunter2" not in repr(settings) + repr(settings.environments["dev"])
    assert redact_url("s3://user:pw@host/b?x=1") == "s3://***@host/b"
    assert "s3://***@host/b" in repr(settings.environments["dev"])


def test_settings_are_values(tmp_path: Path) -> None:
    assert load(tmp_path, TYPICAL) == load(tmp_path)
    assert isinstance(load(tmp_path).environments["dev"], EnvironmentSettings)


def test_defaults_need_neither_pydantic_nor_anything_heavy(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from assets_core.project.config import load_settings\n"
        "import assets_core.project.environment\n"
        "load_settings(Path(sys.argv[1]), {})\n"
        "print(sorted({'pydantic', 'numpy', 'sqlalchemy', 'fsspec'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "project": st.sampled_from(["a.b", "x", "", 5, None, True]),
            "default_env": st.sampled_from(["dev", "prod", 3]),
            "search_paths": st.sampled_from([["."], [], "src", [1], None]),
        },
    )
)
def test_the_short_way_for_the_smallest_configurations_gives_what_the_schema_gives(
    raw: dict[str, Any],
) -> None:
    if not config_module._says_only_names(raw):
        return
    short, long = config_module.TopLevel(**raw), validate_config(raw, None, [])
    assert (short.project, short.default_env, short.search_paths) == (
        long.project,
        long.default_env,
        long.search_paths,
    )
    assert (long.env, long.config) == ({}, {})
