"""Asset checks: sums that must hold."""

import dagster as dg

from quantbot_pipeline.storage.protocols import StateStore


@dg.asset_check(asset="alerts", description="Rows read = rows stored + duplicates + quarantined, over all imports.")
def alert_counts_add_up(state_store: dg.ResourceParam[StateStore]) -> dg.AssetCheckResult:
    """Hold every alert row that was read against what became of it."""
    counts = state_store.read("counts/count_state").to_pylist()[0]
    parts = {name: int(counts[f"alert_rows_{name}"]) for name in ("read", "stored", "duplicate", "quarantined")}
    is_sum = parts["read"] == parts["stored"] + parts["duplicate"] + parts["quarantined"]
    return dg.AssetCheckResult(passed=is_sum and parts["stored"] == counts["alerts"], metadata=dict(parts))


@dg.asset_check(asset="calls", description="Every alert has exactly one call, in force or not.")
def every_alert_has_its_call(state_store: dg.ResourceParam[StateStore]) -> dg.AssetCheckResult:
    """Compare the numbers of alerts and calls; a call is unique by alert."""
    counts = state_store.read("counts/count_state").to_pylist()[0]
    return dg.AssetCheckResult(
        passed=counts["alerts"] == counts["calls"],
        metadata={"alerts": counts["alerts"], "calls": counts["calls"]},
    )
