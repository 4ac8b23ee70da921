"""The checks of these tests notice a protocol with one thing wrong, whatever it is, and find nothing in the sound one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.forks import ForkServer
from tests.faults.mutants import MUTANTS, Mutant, run_check
from tests.support import figures

pytestmark = [pytest.mark.faults, pytest.mark.slow]

CHECKS = list(dict.fromkeys(mutant.check for mutant in MUTANTS))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_sound_protocol_passes(
    fork: ForkServer, memory_path: Path, check: Callable[[Path], list[str]]
) -> None:
    assert fork.call(run_check, check, memory_path, None).value == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_protocol_with_one_thing_wrong_is_noticed(
    fork: ForkServer, memory_path: Path, mutant: Mutant
) -> None:
    found = fork.call(run_check, mutant.check, memory_path, mutant).value
    figures.count("mutants noticed", points=1, faults=bool(found))
    assert found
