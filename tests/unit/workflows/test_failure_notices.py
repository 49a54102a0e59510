"""What people are told of a failed run."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from quantbot_pipeline.workflows.failure_notices import FailedRun, build_failure_notice

RUN = FailedRun(
    run_id="0b7f",
    job="simulate_job",
    partitions="2025-03-01|binance:BONK_USDT",
    steps=[("simulate_token_months", "2 runs failed")],
    error="Steps failed",
    failed_at=datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC),
)


def test_notice_says_what_failed_where_when_and_why() -> None:
    assert build_failure_notice(RUN) == {
        "text": "simulate_job on 2025-03-01|binance:BONK_USDT failed at 2025-03-04 05:06:07 UTC (run 0b7f)\n"
        "simulate_token_months: 2 runs failed",
        "event": "run_failure",
        "run_id": "0b7f",
        "job": "simulate_job",
        "partitions": "2025-03-01|binance:BONK_USDT",
        "failed_at": "2025-03-04T05:06:07Z",
        "errors": [{"step": "simulate_token_months", "error": "2 runs failed"}],
    }


def test_a_run_that_failed_before_its_first_step_says_its_own_error() -> None:
    notice = build_failure_notice(replace(RUN, steps=[], partitions=None, error="Postgres does not answer"))
    assert notice["text"].splitlines() == [
        "simulate_job failed at 2025-03-04 05:06:07 UTC (run 0b7f)",
        "Postgres does not answer",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "can't connect to postgresql://bot:hunter2@db:5432/x",
        "can't connect to http://:hunter2@ch:8123",
        "connection to 'postgresql+psycopg2://bot:hunter2@db' failed",
        "password=hunter2 host=db",
        "X-API-KEY: hunter2",
        '{"api_key": "hunter2", "x": 1}',
        "authorization: Bearer hunter2",
        "the key is hunter2",
    ],
)
def test_secrets_are_in_no_part_of_the_notice(text: str) -> None:
    run = replace(RUN, steps=[("step", text)], error=text, partitions="hunter2")
    assert "hunter2" not in str(build_failure_notice(run, ["hunter2", ""]))
    if "the key is" not in text:
        # Also where nobody said that it is one.
        assert "hunter2" not in str(build_failure_notice(replace(run, partitions=None)))


def test_what_is_no_secret_stays() -> None:
    text = "a.csv:3: token BONK at https://docs.dagster.io/x is 1: allowed are 2"
    assert text in build_failure_notice(replace(RUN, steps=[("step", text)]))["text"]


def test_long_errors_and_many_steps_are_cut() -> None:
    notice = build_failure_notice(replace(RUN, steps=[(f"s{k}", "x" * 5000) for k in range(8)]))
    assert len(notice["errors"]) == 5
    assert all(len(error["error"]) == 1500 for error in notice["errors"])
    assert notice["text"].endswith("and 3 more steps")
