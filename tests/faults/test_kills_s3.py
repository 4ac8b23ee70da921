"""As `test_kills`, on a bucket: killed right before and right after every request that writes."""

from pathlib import Path

import pytest

from tests.faults import tiny
from tests.faults.campaign import Campaign, kill_everywhere
from tests.faults.forks import ForkServer
from tests.faults.tiny import ASSETS, Job
from tests.support.servers import S3Root

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.s3]


@pytest.mark.timeout(280)
def test_a_run_on_a_bucket_killed_at_any_request_leaves_old_or_new(
    forks: list[ForkServer], memory_path: Path, s3_root: S3Root
) -> None:
    template = Job(memory_path / "template", 1, True, f"{s3_root.url}/template", s3_root.options)
    names = forks[0].call(tiny.modules_for, template).value
    for server in forks:
        server.warm_up(names)
    job = Job(memory_path / "work", 2, True, s3_root.url, s3_root.options)
    campaign = Campaign("kill: S3 requests", template.folder, job, dict.fromkeys(ASSETS, 1), floor=20)
    assert kill_everywhere(campaign, forks) == []
