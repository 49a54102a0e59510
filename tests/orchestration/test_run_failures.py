"""What a failed run of the main job tells its user."""

import dagster as dg
import pytest

from quantbot_pipeline.defs.main_job import raise_if_failed
from quantbot_pipeline.errors import DataError, QuantbotError, SimulationError, StorageError

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def _run_failing_with(error: Exception, cause: Exception | None = None) -> dg.ExecuteInProcessResult:
    @dg.op
    def fail() -> None:
        raise error from cause

    @dg.job
    def failing() -> None:
        fail()

    return failing.execute_in_process(run_config=QUIET, raise_on_error=False)


def test_a_users_mistake_keeps_its_class_and_text() -> None:
    with pytest.raises(DataError, match=r"^a\.csv:3: price is negative: allowed is more than 0$"):
        raise_if_failed(_run_failing_with(DataError("a.csv:3: price is negative: allowed is more than 0")))


def test_a_lost_database_is_told_as_such_whatever_the_driver_said() -> None:
    """The driver's error is the cause of ours; the innermost cause alone made it a failed simulation."""
    with pytest.raises(StorageError, match=r"^Postgres does not answer$") as raised:
        raise_if_failed(_run_failing_with(StorageError("Postgres does not answer"), OSError("connection reset")))
    assert raised.value.exit_code == 3


def test_a_failure_with_a_description_names_its_step() -> None:
    with pytest.raises(SimulationError, match=r"^step fail: 2 runs failed$"):
        raise_if_failed(_run_failing_with(dg.Failure("2 runs failed")))


def test_a_fault_of_the_program_is_told_with_its_step() -> None:
    with pytest.raises(SimulationError, match=r"^step fail: ZeroDivisionError: division by zero$"):
        raise_if_failed(_run_failing_with(ZeroDivisionError("division by zero")))


def test_a_run_that_fails_before_its_first_step_tells_why() -> None:
    @dg.resource
    def broken() -> None:
        raise StorageError("ClickHouse does not answer")

    @dg.op(required_resource_keys={"store"})
    def read() -> None:
        """Never comes to run."""

    @dg.job(resource_defs={"store": broken})
    def failing() -> None:
        read()

    with pytest.raises(QuantbotError, match="ClickHouse does not answer"):
        raise_if_failed(failing.execute_in_process(run_config=QUIET, raise_on_error=False))
