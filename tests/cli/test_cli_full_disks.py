"""A disk without room, as a person sees it."""

import errno
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Quantbot

QUANTBOT = Path(sys.executable).with_name("quantbot")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device without room is Linux's")
def test_output_that_finds_no_room_is_one_sentence_with_code_3() -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [QUANTBOT, "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 3
    assert ended.stderr.startswith("error: no space left on ")
    assert ended.stderr.endswith(": make room, run it again\n")
    assert ended.stderr.count("\n") == 1


def test_an_error_behind_which_a_full_disk_is_says_so(
    quantbot: Quantbot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What writes has a number for it and no name: the disk that is full is looked for."""

    def find_no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("quantbot_pipeline.cli.stores.load_checked_settings", find_no_room)
    monkeypatch.setattr("quantbot_pipeline.full_disks.is_full", lambda folder: folder == tmp_path / "home")
    quantbot("status").refuses(f"no space left on {tmp_path / 'home'}: make room, run it again", code=3)


def test_attempts_of_dagster_to_reach_postgres_are_not_printed(
    quantbot: Quantbot, caplog: pytest.LogCaptureFixture
) -> None:
    quantbot("--version")
    logging.getLogger().warning("Retrying failed database connection: %s", "away")
    assert caplog.records == []
    logging.getLogger().warning("something else")
    assert len(caplog.records) == 1
