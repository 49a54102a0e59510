"""What a backfill goes on with: the last one of a selection, or the last that did not come to its end."""

import threading
from datetime import timedelta

import pyarrow as pa
import pytest

from quantbot_pipeline.errors import InputError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.workflows.backfill import BackfillCounts, BackfillListener, MonthOutcome, run_backfill
from quantbot_pipeline.workflows.backfill_records import (
    SelectedBackfill,
    backfill_lock_name,
    begin_backfill,
    record_months,
    select_backfill,
    select_unfinished,
)
from quantbot_pipeline.workflows.backfill_selection import Selection
from tests.workflows.scene import BONK, MARCH, MINUTE, PEPE, Scene, alert, candle_rows

pytestmark = pytest.mark.server

APRIL = MARCH + timedelta(days=31)


def test_without_selectors_the_last_unfinished_backfill_is_resumed_whatever_it_was_asked_for(scene: Scene) -> None:
    for number, token in enumerate((BONK, PEPE)):
        scene.call(alert(2 * number + 1, MARCH, token=token), alert(2 * number + 2, APRIL, token=token))
    scene.strategy("first")
    scene.strategy("second", exits={})
    with pytest.raises(InputError, match="no backfill was begun"):
        select_unfinished(scene.state)

    def outcomes(selected: SelectedBackfill) -> list[MonthOutcome]:
        return [MonthOutcome(key, 1, 0, (), 0, 0, None) for key in selected.keys]

    everything = select_backfill(Selection(), scene.state)
    finished = begin_backfill(everything, scene.state)
    record_months(finished, outcomes(everything), scene.state)
    scene.state.finish_backfill(finished)
    found = select_unfinished(scene.state)
    assert (found.keys, found.done, found.backfill_id) == ((), 4, finished)

    # All strategies, and one of a file: another selection, killed after its first token-month.
    both = Selection.of(strategies=["all", "second"])
    killed = begin_backfill(select_backfill(both, scene.state), scene.state)
    record_months(killed, outcomes(everything)[:1], scene.state)
    # Later, one of a part comes to its end.
    part = select_backfill(Selection.of(["binance:BONK_USDT"]), scene.state)
    later = begin_backfill(part, scene.state)
    record_months(later, outcomes(part), scene.state)
    scene.state.finish_backfill(later)
    found = select_unfinished(scene.state)
    assert (found.selection, found.backfill_id) == (both, killed)
    assert (len(found.keys), found.done) == (3, 1)
    [(begun_at,)] = scene.ask_state(f"select started_at from backfills where id = {killed}")  # noqa: S608 - own number
    assert found.begun_at == begun_at

    # While a process is at it, nothing is gone on with: not by chance either, with an older one.
    with PostgresStore(scene.urls.postgres) as other, other.held_as_sign(backfill_lock_name(killed)):
        for resume in (
            lambda: select_unfinished(scene.state),
            lambda: select_backfill(both, scene.state, resume=True),
        ):
            with pytest.raises(InputError, match=rf"second, begun {begun_at:%Y-%m-%d %H:%M} UTC, is still running"):
                resume()
        assert select_backfill(part.selection, scene.state, resume=True).backfill_id == later
    assert select_unfinished(scene.state).backfill_id == killed

    # A token that came since counts as never come.
    scene.call(alert(99, MARCH + 3 * MINUTE, token=TokenKey("binance", "NEW_USDT")))
    assert len(select_unfinished(scene.state).keys) == 4
    # The same backfill once more, through with everything: nothing is left to resume.
    again = select_backfill(both, scene.state)
    finished = begin_backfill(again, scene.state)
    record_months(finished, outcomes(again), scene.state)
    scene.state.finish_backfill(finished)
    assert select_unfinished(scene.state).keys == ()


def test_why_is_said_of_what_was_computed_and_not_of_what_another_process_did(scene: Scene) -> None:
    scene.history.insert_candles(candle_rows(BONK, MARCH, 120))
    scene.call(alert(1, MARCH + 3 * MINUTE, token=BONK))
    rows = [scene.strategy("first", horizon_seconds=600)]
    keys = select_backfill(Selection(), scene.state).keys

    waits = threading.Event()
    counts: list[BackfillCounts] = []

    def other() -> None:
        with PostgresStore(scene.urls.postgres) as state, ClickHouseStore(scene.urls.clickhouse) as history:
            listener = BackfillListener(on_message=lambda _: waits.set())
            counts.append(run_backfill(keys, rows, state, history, listener=listener))

    thread = threading.Thread(target=other)

    class Pausing(ClickHouseStore):
        def insert_events(self, events: pa.Table) -> None:
            # The other one has planned the run as well, and waits for this one's lock.
            thread.start()
            assert waits.wait(60)
            super().insert_events(events)

    with Pausing(scene.urls.clickhouse) as history:
        first = run_backfill(keys, rows, scene.state, history)
    thread.join(60)
    assert first.why == {"never run": 1, "up to date": 0}
    assert (counts[0].computed, counts[0].reused) == (0, 1)
    assert counts[0].why == {"up to date": 1}
    # A run that never was is no forced one.
    rows.append(scene.strategy("second", horizon_seconds=300, exits={}))
    forced = run_backfill(keys, rows, scene.state, scene.history, force=True)
    assert forced.why == {"forced": 1, "never run": 1, "up to date": 0}
