"""Finding and importing the user's project."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from assets_core.errors import DefinitionError, DefinitionErrors
from assets_core.project.project import Project, load_project

HEAD = "from assets_core.definition.asset import asset\nfrom assets_core.project.project import Project\n"
ONE = HEAD + "@asset\ndef one() -> int:\n    return 1\n"

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """Write a module below the search path; modules and path entries are forgotten afterwards."""
    path, modules = list(sys.path), set(sys.modules)

    def make(name: str, text: str) -> None:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    yield make
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if (
            getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__)
        ) or name.startswith("ldt_"):
            del sys.modules[name]


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Project]:
    return lambda reference: load_project(reference, [str(tmp_path)])


Load = Callable[[str], Project]


def failure(load: Load, reference: str) -> DefinitionError:
    with pytest.raises(DefinitionError) as caught:
        load(reference)
    return caught.value


def test_the_attribute_project_comes_first(write: Write, load: Load) -> None:
    write("ldt_a.py", ONE + "other = Project([], name='no')\nproject = Project([one], name='yes')\n")
    project = load("ldt_a")
    assert (project.name, project.reference) == ("yes", "ldt_a:project")
    assert load(project.reference) is project


def test_a_named_attribute_is_taken(write: Write, load: Load) -> None:
    write("ldt_b.py", ONE + "mine = Project([one])\nproject = Project([])\n")
    assert list(load("ldt_b:mine").assets) == ["one"]
    assert load("ldt_b:mine").reference == "ldt_b:mine"


def test_the_only_project_of_a_module_is_taken_whatever_its_name(write: Write, load: Load) -> None:
    write(
        "ldt_c.py", ONE + "extra = asset(key='extra', io_manager='json')(lambda: 1)\nair = Project([one])\n"
    )
    assert list(load("ldt_c").assets) == ["one"]


def test_a_module_of_assets_is_a_project(write: Write, load: Load) -> None:
    write("ldt_d.py", ONE)
    project = load("ldt_d")
    assert (list(project.assets), project.name, project.reference) == (["one"], "ldt_d", "ldt_d")


def test_a_module_may_make_its_project_from_itself(write: Write, load: Load) -> None:
    write("ldt_e.py", ONE + "project = Project.from_module(__name__)\n")
    assert load("ldt_e").reference == "ldt_e:project"


def test_a_package_is_collected_with_all_modules_below(write: Write, load: Load) -> None:
    write("ldt_pkg/__init__.py", HEAD + "project = None\n")
    write("ldt_pkg/a.py", ONE)
    write("ldt_pkg/sub/__init__.py", "")
    write("ldt_pkg/sub/b.py", "from ldt_pkg.a import one\n" + ONE.replace("one", "two"))
    write("ldt_pkg/__main__.py", "raise SystemExit(3)")
    write("ldt_defs.py", HEAD + "project = Project.from_package('ldt_pkg')\n")
    project = load("ldt_defs")
    assert list(project.assets) == ["one", "two"]
    assert project.name == "ldt_pkg"


def test_several_projects_without_the_usual_name_must_be_named(write: Write, load: Load) -> None:
    write("ldt_f.py", ONE + "x = Project([one])\ny = Project([])\n")
    error = failure(load, "ldt_f")
    assert error.code == "project-not-found"
    assert "x, y" in error.why


def test_a_missing_module_names_the_nearest(write: Write, load: Load, tmp_path: Path) -> None:
    write("ldt_orders.py", ONE)
    error = failure(load, "ldt_ordres")
    assert error.code == "project-not-found"
    assert "ldt_orders" in error.why
    assert str(tmp_path) in error.why
    write("ldt_p/__init__.py", "")
    write("ldt_p/definitions.py", ONE)
    assert "ldt_p.definitions" in failure(load, "ldt_p.definition").why


def test_a_missing_attribute_names_the_nearest(write: Write, load: Load) -> None:
    write("ldt_g.py", ONE + "project = Project([one])\n")
    assert "ldt_g:project" in failure(load, "ldt_g:projct").do
    assert "of type Asset" in failure(load, "ldt_g:one").why


def test_a_module_without_assets_is_told_what_to_write(write: Write, load: Load) -> None:
    write("ldt_h.py", "x = 1\n")
    write("ldt_hp/__init__.py", "")
    assert "from_module" in failure(load, "ldt_h").do
    assert "from_package" in failure(load, "ldt_hp").do


def test_an_exception_at_import_is_told_with_the_users_line_and_kept_as_the_cause(
    write: Write, load: Load, tmp_path: Path
) -> None:
    write("ldt_low.py", "def f():\n    return {}['no']\n")
    write("ldt_i.py", "import json\nfrom ldt_low import f\n\nf()\n")
    error = failure(load, "ldt_i")
    assert error.code == "project-import-failed"
    assert f"{tmp_path}/ldt_low.py:2" in error.what
    assert error.why == "KeyError: 'no'"
    assert isinstance(error.__cause__, KeyError)


def test_the_line_is_the_users_when_a_library_raises(write: Write, load: Load, tmp_path: Path) -> None:
    write("ldt_j.py", "import json\n\njson.loads('{')\n")
    error = failure(load, "ldt_j")
    assert f"{tmp_path}/ldt_j.py:3" in error.what


def test_a_syntax_error_is_told_with_its_line(write: Write, load: Load, tmp_path: Path) -> None:
    write("ldt_k.py", "x = 1\ndef f(:\n")
    error = failure(load, "ldt_k")
    assert f"{tmp_path}/ldt_k.py:2" in error.what
    assert "SyntaxError" in error.why


def test_a_missing_library_is_told_apart_from_a_missing_project(
    write: Write, load: Load, tmp_path: Path
) -> None:
    write("ldt_l.py", "import ldt_not_installed.deep\n")
    error = failure(load, "ldt_l")
    assert error.code == "project-import-failed"
    assert f"{tmp_path}/ldt_l.py:1" in error.what
    assert "'ldt_not_installed'" in error.do


def test_a_module_that_exits_is_told(write: Write, load: Load) -> None:
    write("ldt_m.py", "import sys\nsys.exit(3)\n")
    assert "sys.exit(3)" in failure(load, "ldt_m").why


def test_definition_errors_of_a_module_come_as_they_are(write: Write, load: Load, tmp_path: Path) -> None:
    write("ldt_n.py", ONE + "project = Project([one, asset(key='a b', io_manager='json')(lambda x: 1)])\n")
    error = failure(load, "ldt_n")
    assert isinstance(error, DefinitionErrors)
    assert [item.code for item in error.errors] == ["key-invalid", "dependency-unknown"]
    assert f"{tmp_path}/ldt_n.py:6" in str(error)


def test_other_errors_of_ours_keep_their_advice_and_get_a_place(
    write: Write, load: Load, tmp_path: Path
) -> None:
    write("ldt_o.py", "from io_managers.keys import require_asset_key\nrequire_asset_key('a b')\n")
    error = failure(load, "ldt_o")
    assert f"{tmp_path}/ldt_o.py:2" in error.what
    assert "'a b' cannot be the key" in error.what
    assert "raw/orders" in error.do


def test_search_paths_come_first_in_their_order(write: Write, tmp_path: Path) -> None:
    write("first/ldt_q.py", ONE)
    write("second/ldt_q.py", "raise AssertionError")
    paths = [str(tmp_path / "first"), str(tmp_path / "second")]
    load_project("ldt_q", paths)
    assert sys.path[:2] == paths
