"""Time zones and clocks that jump change nothing that is stored."""

import pytest

from quantbot_pipeline.servers.embedded import stop_servers
from tests.faults.contents import Contents, differences
from tests.faults.home import FaultHome

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("faults")]


@pytest.mark.parametrize("zone", ["Asia/Kolkata", pytest.param("America/New_York", marks=pytest.mark.deep)])
def test_a_machine_in_another_time_zone_stores_the_same(
    zone: str, fault_home: FaultHome, undisturbed: Contents
) -> None:
    """The sample's month has the hour that New York skips; the servers too are started in the zone."""
    fault_home.empty()
    stop_servers(fault_home.settings)
    fault_home.run(with_moments=False, TZ=zone)
    assert differences(fault_home.contents(), undisturbed) == []
