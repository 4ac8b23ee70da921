"""How hard the tests look: `fast`, `ci` (the default) or `soak`, named by ASSETLINE_TEST_PROFILE.

`ci` looks at the same examples each time, so that a failure there is a failure anywhere; `soak` looks at twenty
times as many, and at others each time.
"""

import os

from hypothesis import Phase, settings

VARIABLE = "ASSETLINE_TEST_PROFILE"
_SCALES = {"fast": 0.25, "ci": 1.0, "soak": 20.0}
_EXAMPLES = 50


def profile_name() -> str:
    """The profile in force.

    Raises:
        ValueError: The environment names another.
    """
    name = os.environ.get(VARIABLE) or "ci"
    if name not in _SCALES:
        raise ValueError(f"{VARIABLE} is {name!r}; it can be {', '.join(_SCALES)}")
    return name


def scale(n: int) -> int:
    """How many examples or seeds to try where `ci` tries `n`; at least one."""
    return max(1, round(n * _SCALES[profile_name()]))


def register() -> None:
    """Make the profiles known to Hypothesis and load the one in force."""
    name = profile_name()
    common = {"deadline": None, "print_blob": True}
    settings.register_profile(
        "fast",
        max_examples=round(_EXAMPLES * _SCALES["fast"]),
        derandomize=True,
        phases=[phase for phase in Phase if phase is not Phase.explain],
        **common,
    )
    settings.register_profile("ci", max_examples=_EXAMPLES, derandomize=True, **common)
    # said outright: where CI is set, hypothesis' own default is the opposite
    settings.register_profile(
        "soak", max_examples=round(_EXAMPLES * _SCALES["soak"]), derandomize=False, **common
    )
    settings.load_profile(name)
