"""An environment opens what its settings name, travels to workers, and cleans up after itself."""

from __future__ import annotations

import gc
import json
import os
import pickle
from pathlib import Path

import pytest

from assets_core.errors import ConfigError, InternalError
from assets_core.project.config import load_settings
from assets_core.project.environment import Environment

TEXT = """
default_env = "test"
search_paths = ["src"]
[env.test]
storage = "memory://environment-tests"
executor = { kind = "threads", workers = 3 }
durability = "os"
[env.prod]
storage = { url = "${env:SHOP_STORAGE}", key = "${env:SHOP_KEY}" }
state = "sqlite:///${env:SHOP_STATE}"
[env.prod.resources.api]
token = "${env:SHOP_KEY}"
"""


@pytest.fixture
def configured(tmp_path: Path):
    (tmp_path / "assetline.toml").write_text(TEXT)
    return load_settings(tmp_path, {})


def test_the_default_environment_is_the_configured_one(configured) -> None:
    environment = Environment.from_settings(configured)
    assert environment.name == "test" and environment.durability == "os"
    assert environment.executor == {"kind": "threads", "workers": 3}
    assert environment.search_paths == configured.search_paths


def test_an_unknown_environment_is_refused_with_the_nearest(configured) -> None:
    with pytest.raises(ConfigError) as caught:
        Environment.from_settings(configured, "prdo")
    assert caught.value.code == "environment-not-found" and "nearest: prod" in caught.value.why


def test_without_configuration_the_default_lies_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("ASSETLINE_")]:
        monkeypatch.delenv(name)
    environment = Environment.default()
    assert environment.name == "dev"
    assert environment.state_url == f"sqlite:///{tmp_path}/.assetline/state.db"
    assert environment.storage.url.endswith(f"{tmp_path}/.assetline/storage")
    assert list(tmp_path.iterdir()) == []


def test_the_storage_is_opened_once(configured) -> None:
    environment = Environment.from_settings(configured)
    assert environment.storage is environment.storage
    environment.storage.put_new("a", b"x")
    assert Environment.from_settings(configured).storage.get("a") == b"x"
    environment.storage.delete("a")


def test_secrets_are_resolved_only_when_they_are_needed(
    configured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = Environment.from_settings(configured, "prod")
    monkeypatch.delenv("SHOP_STORAGE", raising=False)
    with pytest.raises(ConfigError, match="SHOP_STORAGE is not set"):
        _ = environment.storage
    with pytest.raises(ConfigError, match="SHOP_STATE"):
        _ = environment.state_url
    monkeypatch.setenv("SHOP_STATE", "below/state.db")
    assert environment.state_url == f"sqlite:///{tmp_path}/below/state.db"


def test_a_resolved_path_is_taken_from_the_root_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "assetline.toml").write_text('[env.dev]\nstorage = "${env:SHOP_STORAGE}"\n')
    monkeypatch.setenv("SHOP_STORAGE", "data/here")
    environment = Environment.from_settings(load_settings(tmp_path, {}))
    assert environment.storage.url.endswith(f"{tmp_path}/data/here")


def test_neither_the_text_nor_the_values_of_an_environment_hold_a_secret(
    configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_KEY", "hunter2")
    monkeypatch.setenv("SHOP_STORAGE", "s3://user:hunter2@host/b")
    environment = Environment.from_settings(configured, "prod")
    values = environment.to_dict()
    assert "hunter2" not in repr(environment) + repr(environment.settings) + json.dumps(values)
    assert values["storage_options"] == {"key": "${env:SHOP_KEY}"}


def test_an_environment_comes_back_from_its_values_and_from_pickle(configured) -> None:
    for name in ("test", "prod", "dev"):
        environment = Environment.from_settings(configured, name)
        values = json.loads(json.dumps(environment.to_dict()))
        for again in (Environment.from_dict(values), pickle.loads(pickle.dumps(environment))):
            assert again.settings == environment.settings
            assert again.search_paths == environment.search_paths
            assert again.to_dict() == environment.to_dict()


def test_values_of_another_make_are_refused(configured) -> None:
    values = Environment.from_settings(configured).to_dict()
    with pytest.raises(InternalError):
        Environment.from_dict({**values, "colour": "red"})
    del values["root"]
    with pytest.raises(InternalError):
        Environment.from_dict(values)


def test_an_ephemeral_environment_works_and_leaves_nothing(tmp_path: Path) -> None:
    with Environment.ephemeral(tmp_path) as environment:
        environment.storage.put_new("a/b", b"x")
        assert environment.storage.get("a/b") == b"x"
        assert environment.durability == "os" and environment.executor == {"kind": "inline"}
        assert environment.state_url.startswith(f"sqlite:///{tmp_path}/")
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []
    environment.close()


def test_an_ephemeral_environment_that_is_forgotten_is_removed(tmp_path: Path) -> None:
    environment = Environment.ephemeral(tmp_path)
    environment.storage.put_new("a", b"x")
    del environment
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_ends_does_not_remove_the_folder(tmp_path: Path) -> None:
    with Environment.ephemeral(tmp_path) as environment:
        environment.storage.put_new("a", b"x")
        worker = Environment.from_dict(environment.to_dict())
        assert worker.storage.get("a") == b"x"
        worker.close()
        del worker
        gc.collect()
        assert environment.storage.get("a") == b"x"


def test_two_ephemeral_environments_share_nothing(tmp_path: Path) -> None:
    with Environment.ephemeral(tmp_path) as one, Environment.ephemeral(tmp_path) as two:
        one.storage.put_new("a", b"x")
        assert two.storage.head("a") is None
        assert one.state_url != two.state_url


def test_a_storage_is_used_for_writing_once_it_is_trusted(tmp_path: Path) -> None:
    with Environment.ephemeral(tmp_path) as environment:
        assert environment.require_trusted_storage() is environment.storage
        assert environment.require_trusted_storage() is environment.storage
