"""One home with servers of its own per worker, and what an undisturbed job leaves in it."""

from collections.abc import Iterator

import pytest

from tests.faults.contents import Contents
from tests.faults.home import FaultHome, open_fault_home


@pytest.fixture(scope="session")
def fault_home() -> Iterator[FaultHome]:
    """A home whose servers may be killed; each test begins by emptying it."""
    with open_fault_home() as home:
        yield home


@pytest.fixture(scope="session")
def undisturbed(fault_home: FaultHome) -> Contents:
    """What the job stores when nothing happens to it."""
    fault_home.empty()
    fault_home.run(with_moments=False)
    return fault_home.contents()
