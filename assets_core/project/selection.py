"""Texts that pick assets, as the command line takes them.

    raw/flights, raw/*           a key, or a glob over keys (`*` also crosses `/`)
    tag:tier=critical, tag:tier  assets with that tag
    group:raw  kind:sql  owner:x globs too
    state:stale                  stale, missing, changed or failed now
    +x  x+  2+x+1                also all upstream of x; all downstream; two levels up and one down
    a,b                          both at once
    !x                           not x

Several texts unite. A text of nothing but `!x` takes away from what the others pick, or from all assets when there
are no others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from fnmatch import fnmatchcase
from typing import NamedTuple, Protocol

from assets_core.errors import SelectionError
from io_managers.nearest import nearest_names

STATES = ("stale", "missing", "changed", "failed")
METHODS = ("tag", "group", "kind", "owner", "state")

_TERM = re.compile(
    r"(?P<no>!?)(?:(?P<up>[0-9]*)(?P<ups>\+))?(?P<core>[^+]+)(?:(?P<downs>\+)(?P<down>[0-9]*))?"
)

StateOf = Callable[[str], AbstractSet[str]]


class SelectableAsset(Protocol):
    """What a selection looks at in an asset."""

    @property
    def kind(self) -> str:
        """`python`, `sql`, `external`."""

    @property
    def group(self) -> str | None:
        """The group, None when it has none."""

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags and their values."""

    @property
    def owner(self) -> str | None:
        """Who looks after it, None when nobody is named."""


class SelectableGraph(Protocol):
    """The dependencies, by asset key."""

    @property
    def order(self) -> Sequence[str]:
        """All keys, upstream before downstream."""

    @property
    def upstream(self) -> Mapping[str, Sequence[str]]:
        """What each asset reads directly."""

    @property
    def downstream(self) -> Mapping[str, Sequence[str]]:
        """What reads each asset directly."""


class SelectableProject(Protocol):
    """Assets and how they hang together."""

    @property
    def assets(self) -> Mapping[str, SelectableAsset]:
        """The assets by key."""

    @property
    def graph(self) -> SelectableGraph:
        """Their dependencies."""


class _Term(NamedTuple):
    text: str
    is_negative: bool
    core: str
    up: int | None  # levels, None for all of them
    down: int | None


def select_assets(
    project: SelectableProject, expressions: Sequence[str], state_of: StateOf | None = None
) -> list[str]:
    """The keys of the assets that the texts pick, upstream before downstream; all of them for no text.

    Args:
        project: The assets and their graph.
        expressions: Texts as the module's docstring says.
        state_of: For one of `STATES` the keys of the assets that have a partition in it; None where `state:`
            cannot be answered.

    Returns:
        Keys in topological order. Empty only where a `state:` had its say: that nothing is stale is an answer.

    Raises:
        SelectionError: `selection-invalid`: a text is not well formed. `asset-not-found`: a key that is named does
            not exist. `selection-empty`: nothing matches. Each names what is nearest.
    """
    selector = _Selector(project, state_of)
    every = frozenset(project.assets)
    picked: set[str] | None = None
    taken: set[str] = set()
    has_state = False
    for expression in expressions:
        terms = [_parse_term(text.strip(), expression) for text in expression.split(",")]
        has_state |= any(term.core.startswith("state:") for term in terms)
        if all(term.is_negative for term in terms):
            for term in terms:
                taken |= selector.match(term)
            continue
        found = set(every)
        for term in terms:
            found = found - selector.match(term) if term.is_negative else found & selector.match(term)
        picked = found if picked is None else picked | found
    result = (set(every) if picked is None else picked) - taken
    if not result and expressions and not has_state:
        raise SelectionError(
            "selection-empty",
            f"no asset matches {' '.join(map(repr, expressions))}.",
            why=f"each part matches, but nothing is left of the {len(every)} assets when they are combined.",
            do="assetline list shows all assets; loosen the selection.",
        )
    return [key for key in project.graph.order if key in result]


def _parse_term(text: str, expression: str) -> _Term:
    match = _TERM.fullmatch(text)
    if match is None or match["core"].startswith("!"):
        raise SelectionError(
            "selection-invalid",
            f"{text!r} does not pick assets.",
            why="a part is empty." if not text else f"in {expression!r}: '+' stands before or after a name.",
            do="write a key or a glob, tag:k=v, group:g, kind:k, owner:o or state:s, with + around and ! in front.",
        )
    return _Term(
        text,
        is_negative=bool(match["no"]),
        core=match["core"],
        up=_depth(match["ups"], match["up"]),
        down=_depth(match["downs"], match["down"]),
    )


def _depth(plus: str | None, digits: str | None) -> int | None:
    if plus is None:
        return 0
    return int(digits) if digits else None


class _Selector:
    """Matches terms against one project."""

    def __init__(self, project: SelectableProject, state_of: StateOf | None) -> None:
        self._assets = project.assets
        self._graph = project.graph
        self._state_of = state_of

    def match(self, term: _Term) -> set[str]:
        """The keys that a term means, the sign left aside."""
        method, colon, value = term.core.partition(":")
        if not colon:
            found = self._match_keys(term.core)
        elif method == "state":
            found = self._match_state(value)
        else:
            found = self._match_attribute(method, value, term.core)
        return _walk(found, self._graph.upstream, term.up) | _walk(found, self._graph.downstream, term.down)

    def _match_keys(self, name: str) -> set[str]:
        if name in self._assets:
            return {name}
        found = {key for key in self._assets if fnmatchcase(key, name)} if _is_glob(name) else set()
        if not found:
            code = "selection-empty" if _is_glob(name) else "asset-not-found"
            what = f"no asset matches {name!r}." if _is_glob(name) else f"no asset is named {name!r}."
            raise self._nothing(code, what, name, self._assets, f"{len(self._assets)} assets are defined")
        return found

    def _match_attribute(self, method: str, value: str, text: str) -> set[str]:
        if method not in METHODS:
            raise self._nothing(
                "selection-invalid",
                f"{text!r} does not pick assets.",
                method,
                METHODS,
                f"{method!r} is none of {', '.join(METHODS)}",
            )
        known = {key: _values(asset, method) for key, asset in self._assets.items()}
        found = {key for key, values in known.items() if any(_matches(own, value) for own in values)}
        if not found:
            every = sorted({own for values in known.values() for own in values})
            raise self._nothing(
                "selection-empty",
                f"no asset matches {text!r}.",
                value,
                every,
                f"{len(self._assets)} assets are defined, with {len(every)} values of {method}",
            )
        return found

    def _match_state(self, state: str) -> set[str]:
        if state not in STATES:
            raise self._nothing(
                "selection-invalid",
                f"'state:{state}' does not pick assets.",
                state,
                STATES,
                f"{state!r} is none of {', '.join(STATES)}",
            )
        if self._state_of is None:
            raise SelectionError(
                "selection-invalid",
                f"'state:{state}' cannot be used here.",
                why="it depends on what has been materialized, which is not looked at.",
                do="select by key, tag, group, kind or owner.",
            )
        return {key for key in self._state_of(state) if key in self._assets}

    @staticmethod
    def _nothing(code: str, what: str, text: str, names: Iterable[str], why: str) -> SelectionError:
        near = nearest_names(text, list(names), n=3, cutoff=0.5)
        return SelectionError(
            code,
            what,
            why=why + (f"; nearest: {', '.join(near)}." if near else "."),
            do=f"assetline list {near[0]!r}" if near and code == "asset-not-found" else "assetline list",
        )


def _is_glob(text: str) -> bool:
    return any(char in text for char in "*?[")


def _matches(own: str, wanted: str) -> bool:
    return own == wanted or fnmatchcase(own, wanted)


def _values(asset: SelectableAsset, method: str) -> tuple[str, ...]:
    match method:
        case "tag":
            return tuple(form for name, value in asset.tags.items() for form in (name, f"{name}={value}"))
        case "group":
            value = asset.group
        case "kind":
            value = asset.kind
        case _:
            value = asset.owner
    return () if value is None else (value,)


def _walk(keys: set[str], edges: Mapping[str, Sequence[str]], levels: int | None) -> set[str]:
    """The keys and what is reached from them in so many steps, None for any number."""
    found = set(keys)
    front = keys
    while front and (levels is None or levels > 0):
        front = {near for key in front for near in edges.get(key, ())} - found
        found |= front
        levels = None if levels is None else levels - 1
    return found
