"""Code versions: what changes them and what does not."""

import importlib
import itertools
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from assets_core.errors import DefinitionError
from assets_core.planning.code_version import (
    CodeVersion,
    code_version,
    covered_sources,
    explain_code_change,
    normalised_source,
)

Write = Callable[..., CodeVersion]
BASE = {
    "shop.assets": """
        import functools
        import re
        import math as m

        import shop.cleaning as cleaning
        from shop.settings import LIMIT, RATES, Mode, Rule, WORD
        from shop import helpers

        THRESHOLD = 3

        def unrelated():
            return 1

        class Scaler:
            def __init__(self, by):
                self.by = by
            def scale(self, value):
                return value * self.by * m.pi

        @functools.lru_cache(maxsize=8)
        def cached(x):
            return helpers.double(x)

        def asset(orders, factor=2):
            '''Docs.'''
            def inner(row):
                return [cleaning.clean(value) for value in row if value < THRESHOLD]
            scaled = Scaler(factor).scale(LIMIT)
            return inner(orders), scaled, RATES["a"], Mode.FAST, Rule(3), WORD.match("a"), cached(1)
    """,
    "shop": "",
    "shop.cleaning": """
        def clean(value):
            return _strip(value)

        def _strip(value):
            return value.strip() if value else clean("x")

        def other(value):
            return value
    """,
    "shop.settings": """
        import dataclasses, enum, re
        LIMIT = 10
        RATES = {"a": 1.5, "b": (1, 2, frozenset({"x", "y", "z"}))}
        WORD = re.compile("[a-z]+")
        class Mode(enum.Enum):
            FAST = 1
            SLOW = 2
        @dataclasses.dataclass
        class Rule:
            weight: int = 4
    """,
    "shop.helpers": """
        def double(x):
            return x * 2
        def untouched(x):
            return x
    """,
}


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Mapping[str, str]], object]]:
    """Writes modules to a fresh folder, imports the first and gives its `asset`."""
    count = itertools.count()
    packages = set()

    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
            del sys.modules[name]

    def load(files: Mapping[str, str]) -> object:
        root = tmp_path / str(next(count))
        for name, text in files.items():
            packages.add(name.partition(".")[0])
            is_package = any(other.startswith(name + ".") for other in files)
            path = root / (name.replace(".", "/") + ("/__init__.py" if is_package else ".py"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        forget()
        importlib.invalidate_caches()
        monkeypatch.setattr(sys, "path", [str(root), *search_path])
        return importlib.import_module(next(iter(files))).asset

    search_path = list(sys.path)
    yield load
    forget()


@pytest.fixture
def version(project: Callable[[Mapping[str, str]], object]) -> Callable[[Mapping[str, str]], str]:
    return lambda files: code_version(project(files)).hash  # type: ignore[arg-type]


def edited(module: str, old: str, new: str) -> dict[str, str]:
    text = textwrap.dedent(BASE[module])
    assert old in text
    return BASE | {module: text.replace(old, new)}


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("shop.assets", "'''Docs.'''", "'''Other words.'''  # and a comment"),
        ("shop.assets", "def inner(row):", "def inner(\n        row,\n    ):\n        # why"),
        ("shop.assets", "def unrelated():\n    return 1", "def unrelated():\n    return 2\n\nNEW = 4"),
        ("shop.assets", "import math as m", "import math"),
        (
            "shop.assets",
            "    def scale(self, value):",
            "    def scale(self, value: float) -> float:\n        'Docs.'",
        ),
        ("shop.cleaning", "def other(value):\n    return value", "def other(value):\n    return -value"),
        ("shop.cleaning", "def clean(value):", "def clean(value: 'str') -> 'str':"),
        ("shop.helpers", "def untouched(x):\n    return x", ""),
        ("shop.settings", "LIMIT = 10", "LIMIT = 5 + 5  # the same"),
        ("shop.settings", '"x", "y", "z"', '"z", "x", "y"'),
        ("shop.settings", "LIMIT = 10", "UNUSED = 3\nLIMIT: int = 10"),
    ],
)
def test_what_has_no_effect_keeps_the_version(
    version: Callable[[Mapping[str, str]], str], module: str, old: str, new: str
) -> None:
    files = edited(module, old, new)
    if new == "import math":
        files["shop.assets"] = files["shop.assets"].replace("m.pi", "math.pi")
    assert version(files) == version(BASE)


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("shop.assets", "value < THRESHOLD", "value <= THRESHOLD"),
        ("shop.assets", "THRESHOLD = 3", "THRESHOLD = 4"),
        ("shop.assets", "THRESHOLD = 3", "THRESHOLD = 3.0"),
        ("shop.assets", "factor=2", "factor=3"),
        ("shop.assets", "value * self.by", "value + self.by"),
        ("shop.assets", "maxsize=8", "maxsize=9"),
        ("shop.assets", "m.pi", "m.e"),
        ("shop.assets", "asset(orders, ", "asset(order, "),
        ("shop.assets", "class Scaler:", "class Scaler(cleaning.Base):"),
        ("shop.cleaning", "value.strip()", "value.lstrip()"),
        ("shop.cleaning", 'clean("x")', 'clean("y")'),
        ("shop.helpers", "x * 2", "x * 3"),
        ("shop.settings", "LIMIT = 10", "LIMIT = 11"),
        ("shop.settings", '"x", "y", "z"', '"x", "y"'),
        ("shop.settings", "[a-z]+", "[a-z]*"),
        ("shop.settings", "FAST = 1", "FAST = 3"),
        ("shop.settings", "weight: int = 4", "weight: int = 5"),
        ("shop.settings", "weight: int = 4", "weight: float = 4"),
    ],
)
def test_a_change_of_anything_reached_changes_the_version(
    version: Callable[[Mapping[str, str]], str], module: str, old: str, new: str
) -> None:
    files = edited(module, old, new)
    if "Base" in new:
        files["shop.cleaning"] = textwrap.dedent(BASE["shop.cleaning"]) + "class Base:\n    pass\n"
    assert version(files) != version(BASE)


def test_a_local_alias_of_a_project_module_is_formatting(version: Callable[[Mapping[str, str]], str]) -> None:
    text = BASE["shop.assets"]
    renamed = text.replace("import shop.cleaning as cleaning", "import shop.cleaning as cl").replace(
        "cleaning.clean", "cl.clean"
    )
    taken = text.replace(
        "import shop.cleaning as cleaning", "from shop.cleaning import clean as wash"
    ).replace("cleaning.clean", "wash")
    assert version(BASE | {"shop.assets": renamed}) == version(BASE)
    assert version(BASE | {"shop.assets": taken}) == version(BASE)


def pair(
    first: str, second: str, extra: Mapping[str, str] | None = None
) -> tuple[dict[str, str], dict[str, str]]:
    return {"solo": first, **(extra or {})}, {"solo": second, **(extra or {})}


DIFFERENT = {
    "closure value": (
        "def make(n):\n    def asset():\n        return n\n    return asset\nasset = make(%s)",
        "1",
        "2",
    ),
    "closure function": (
        "def make(f):\n    def asset():\n        return f(1)\n    return asset\nasset = make(lambda x: x + %s)",
        "1",
        "2",
    ),
    "loop default": ("for n in range(%s):\n    def asset(x, n=n):\n        return n", "2", "3"),
    "keyword default": ("def asset(x, *, n=%s):\n    return n", "2", "3"),
    "partial": ("import functools\ndef f(x, n):\n    return n\nasset = functools.partial(f, n=%s)", "2", "3"),
    "lambda on a shared line": ("f, g = (lambda x: x + %s), (lambda x: x - 1)\nasset = f", "1", "2"),
    "the user's decorator": (
        "import functools\ndef deco(f):\n    @functools.wraps(f)\n    def inner(*a):\n        return f(*a) + %s\n"
        "    return inner\n@deco\ndef asset(x):\n    return x",
        "1",
        "2",
    ),
    "under the user's decorator": (
        "import functools\ndef deco(f):\n    @functools.wraps(f)\n    def inner(*a):\n        return f(*a)\n"
        "    return inner\n@deco\ndef asset(x):\n    return x + %s",
        "1",
        "2",
    ),
    "base class": (
        "class A:\n    def run(self):\n        return %s\nclass B(A):\n    pass\ndef asset():\n    return B().run()",
        "1",
        "2",
    ),
    "property": (
        "class A:\n    @property\n    def p(self):\n        return %s\na = A()\ndef asset():\n    return a.p",
        "1",
        "2",
    ),
    "arguments of a global object": (
        "class A:\n    def __init__(self, n):\n        self.n = n\na = A(%s)\ndef asset():\n    return a.n",
        "1",
        "2",
    ),
    "dataclass instance": (
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n    n: int\na = A(%s)\ndef asset():\n    return a.n",
        "1",
        "2",
    ),
    "functions in a table": (
        "def f():\n    return %s\nTABLE = {'f': f}\ndef asset():\n    return TABLE['f']()",
        "1",
        "2",
    ),
    "functions registered": (
        "TABLE = {}\ndef register(f):\n    TABLE[f.__name__] = f\n    return f\n@register\ndef f():\n    return %s\n"
        "def asset():\n    return TABLE['f']()",
        "1",
        "2",
    ),
    "a table filled at the top": (
        "TABLE = {}\nTABLE['a'] = %s\ndef asset():\n    return TABLE['a']",
        "1",
        "2",
    ),
    "computed constant": (
        "def compute():\n    return %s\nN = compute()\ndef asset():\n    return N",
        "1",
        "2",
    ),
    "an opaque constant": (
        "class A:\n    pass\nn = object() if %s else A()\ndef asset():\n    return n",
        "1",
        "0",
    ),
    "name shadowed inside only": (
        "def clean(x):\n    return %s\ndef asset(rows):\n    f = lambda clean: clean\n    return clean(f(rows))",
        "1",
        "2",
    ),
    "comprehension": ("N = %s\ndef asset(rows):\n    return {r: N for r in rows if (k := r)}", "1", "2"),
    "named tuple": (
        "import typing\nclass P(typing.NamedTuple):\n    x: int = %s\ndef asset():\n    return P()",
        "1",
        "2",
    ),
    "class method": (
        "class A:\n    @classmethod\n    def make(cls):\n        return %s\ndef asset():\n    return A.make()",
        "1",
        "2",
    ),
    "type of a parameter": ("import decimal, datetime\ndef asset(x: %s):\n    return x", "int", "float"),
    "global object's bound method": (
        "class A:\n    def run(self):\n        return %s\nrun = A().run\ndef asset():\n    return run()",
        "1",
        "2",
    ),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_code_reached_in_any_way_enters(version: Callable[[Mapping[str, str]], str], case: str) -> None:
    text, first, second = DIFFERENT[case]
    one = version({"solo": text.replace("%s", first)})
    assert version({"solo": "# moved\n\n" + text.replace("%s", first)}) == one
    assert version({"solo": text.replace("%s", second)}) != one


@pytest.mark.parametrize(
    "import_line", ["from tools.text import clean", "import tools.text", "from tools import text"]
)
def test_modules_imported_inside_the_function_are_followed_by_name(
    version: Callable[[Mapping[str, str]], str], import_line: str
) -> None:
    call = {"from tools.text import clean": "clean", "import tools.text": "tools.text.clean"}.get(
        import_line, "text.clean"
    )
    solo = f"def asset(x):\n    {import_line}\n    return {call}(x)"
    text = (
        "from . import low\nN = {n}\nOTHER = {o}\n"
        "def clean(x):\n    return low.f(x) + N\ndef other():\n    return OTHER"
    )
    low = "def f(x):\n    return x + {m}\ndef g():\n    return {o}"

    def of(n: int, o: int, m: int) -> str:
        return version(
            {
                "solo": solo,
                "tools": "",
                "tools.text": text.format(n=n, o=o),
                "tools.low": low.format(m=m, o=o),
            }
        )

    assert of(1, 1, 1) == of(1, 2, 1)
    assert len({of(1, 1, 1), of(2, 1, 1), of(1, 1, 2)}) == 3


def test_whether_a_module_is_loaded_yet_does_not_matter(
    project: Callable[[Mapping[str, str]], object],
) -> None:
    files = {
        "solo": "def asset(x):\n    from late import f\n    return f(x)",
        "late": "def f(x):\n    return x",
    }
    asset = project(files)
    before = code_version(asset)  # type: ignore[arg-type]
    assert "late" not in sys.modules
    assert ("function", "late:f") in {(item.kind, item.name) for item in before.covers}
    importlib.import_module("late")
    assert code_version(asset).hash == before.hash  # type: ignore[arg-type]


def test_a_cache_that_fills_while_running_is_no_code(project: Callable[[Mapping[str, str]], object]) -> None:
    asset = project({"solo": "CACHE = {}\ndef asset(x):\n    CACHE[x] = x\n    return CACHE"})
    before = code_version(asset)  # type: ignore[arg-type]
    asset(1)  # type: ignore[operator]
    assert code_version(asset).hash == before.hash  # type: ignore[arg-type]


def test_where_the_project_lies_does_not_matter(version: Callable[[Mapping[str, str]], str]) -> None:
    files = {
        "solo": "import os, pathlib\nROOT = os.path.dirname(__file__)\nDATA = pathlib.Path(__file__).parent / 'a'\n"
        "def asset():\n    return ROOT, DATA"
    }
    assert version(files) == version(files)
    assert version(files) != version({"solo": files["solo"].replace("'a'", "'b'")})


def test_decorators_of_assetline_and_row_models_are_no_code(
    version: Callable[[Mapping[str, str]], str],
) -> None:
    text = (
        "import dataclasses\nfrom assets_core.definition.checks import asset_check\nN = {n}\n"
        "class Row:\n    x: int = {n}\nclass Table:\n    def __class_getitem__(cls, item): return cls\n"
        "@asset_check(asset='a', name=f'n{{N}}')\ndef check(rows: Table[Row]) -> bool:\n    return True\n"
        "asset = check.function\n"
    )
    assert version({"solo": text.format(n=1)}) == version({"solo": text.format(n=2)})


def test_an_asset_called_as_a_function_is_followed(version: Callable[[Mapping[str, str]], str]) -> None:
    text = (
        "from assets_core.definition.checks import asset_check\n@asset_check(asset='a')\n"
        "def check(rows) -> bool:\n    return rows > {n}\ndef asset(rows):\n    return check(rows)\n"
    )
    assert version({"solo": text.format(n=1)}) != version({"solo": text.format(n=2)})


def test_installed_code_enters_by_name_alone_unless_its_distribution_is_named() -> None:
    def asset() -> object:
        return pytest.raises, textwrap.dedent

    plain = code_version(asset)
    assert [item.kind for item in plain.covers] == ["function"]
    named = code_version(asset, distributions=("pytest",))
    assert named.hash != plain.hash
    assert named.covers[-1].name == f"pytest {pytest.__version__}"
    with pytest.raises(DefinitionError, match=r"distribution-not-found.*'no-such-thing'"):
        code_version(asset, distributions=("no-such-thing",))


def test_what_the_caller_declares_enters_and_an_override_stands_for_the_code() -> None:
    def asset() -> int:
        return 1

    def other() -> int:
        return 2

    assert (
        code_version(asset, extra={"contract": "a"}).hash != code_version(asset, extra={"contract": "b"}).hash
    )
    assert code_version(asset, override="7").hash == code_version(other, override="7").hash
    assert code_version(asset, override="7").hash != code_version(other, override="8").hash
    assert code_version(asset, override="7", extra={"c": "1"}).hash != code_version(asset, override="7").hash


def test_a_function_without_source_goes_by_its_bytecode_and_says_so() -> None:
    def build(n: int) -> CodeVersion:
        names: dict[str, object] = {"__name__": "typed"}
        exec(f"LIMIT = {n}\ndef asset(x):\n    return x + LIMIT + 1", names)
        return code_version(names["asset"])  # type: ignore[arg-type]

    assert build(1).covers[0].kind == "bytecode"
    assert build(1).hash == build(1).hash
    assert build(1).hash != build(2).hash


def test_covers_names_everything_with_file_and_line(project: Callable[[Mapping[str, str]], object]) -> None:
    covers = code_version(project(BASE)).covers  # type: ignore[arg-type]
    assert (covers[0].kind, covers[0].name) == ("function", "shop.assets:asset")
    assert covers[0].where.endswith("assets.py:25")
    found = {(item.kind, item.name) for item in covers}
    assert {
        ("function", "shop.cleaning:clean"),
        ("function", "shop.cleaning:_strip"),
        ("class", "shop.assets:Scaler"),
        ("constant", "shop.settings:LIMIT"),
        ("constant", "shop.settings:WORD"),
        ("class", "shop.settings:Mode"),
        ("function", "shop.helpers:double"),
    } <= found
    assert not {name for _, name in found} & {
        "shop.cleaning:other",
        "shop.assets:unrelated",
        "shop.helpers:untouched",
    }
    assert [item.name for item in covers[1:]] == sorted(item.name for item in covers[1:])


def test_functions_that_call_each_other_end(version: Callable[[Mapping[str, str]], str]) -> None:
    text = (
        "class A:\n    def f(self):\n        return B, asset, X\nclass B(A):\n    pass\nX = [A()]\nX.append(X)\n"
        "def even(n):\n    return odd(n - 1)\ndef odd(n):\n    return even(n - 1)\n"
        "def asset(n):\n    return even(n), asset, A, X\n"
    )
    assert version({"solo": text}) == version({"solo": text})


def test_the_normalised_source_shows_the_code_alone(project: Callable[[Mapping[str, str]], object]) -> None:
    asset = project({"solo": "def asset( x ):\n    '''Docs.'''\n    # why\n    return   x+ 1\n"})
    assert normalised_source(asset) == "def asset(x):\n    return x + 1"  # type: ignore[arg-type]


def test_a_change_is_explained_as_a_diff_of_what_is_covered(
    project: Callable[[Mapping[str, str]], object],
) -> None:
    old = covered_sources(project(BASE))  # type: ignore[arg-type]
    new = covered_sources(project(edited("shop.helpers", "x * 2", "x * 3")))  # type: ignore[arg-type]
    diff = explain_code_change(old, new)
    assert "shop.helpers:double (now)" in diff
    assert "-    return x * 2" in diff.splitlines()
    assert "+    return x * 3" in diff.splitlines()
    assert "THRESHOLD" not in diff
    assert explain_code_change(old, old) == ""


@pytest.mark.slow
def test_every_process_and_python_finds_the_same_version(tmp_path: Path) -> None:
    for name, text in BASE.items():
        path = tmp_path / (name.replace(".", "/") + ("/__init__.py" if name == "shop" else ".py"))
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))
    script = (
        "from shop.assets import asset\nfrom assets_core.planning.code_version import code_version\n"
        "print(code_version(asset).hash)"
    )
    house = str(Path(__file__).parents[2])
    pythons = [
        sys.executable,
        sys.executable,
        *map(str, Path.home().glob(".pyenv/versions/3.1[1-9]*/bin/python")),
    ]
    found = {
        subprocess.run(
            [python, "-c", script],
            env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{house}", "PYTHONHASHSEED": str(seed)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, python in enumerate(pythons)
    }
    assert len(found) == 1
