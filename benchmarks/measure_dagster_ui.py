"""Measure how long the pages of the Dagster UI wait for their data, with many partitions materialised.

    python benchmarks/measure_dagster_ui.py [--tokens N] [--months N] [--home DIR] [--repeats N]

A new home with embedded servers (or DIR, which is kept and used as it is the next time) gets tokens and, of each, one
materialisation per month of candles and of the four assets of simulations. The UI is started, and the GraphQL queries
behind its main pages are asked as the pages ask them, one at a time. Printed are the shortest and the longest time of
each, its answer's size, and the memory of the webserver.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from quantbot_pipeline.servers.dagster_ui import dagster_status, prepare_dagster_home, start_dagster_ui, stop_dagster_ui
from quantbot_pipeline.servers.embedded import ensure_servers, stop_servers
from quantbot_pipeline.servers.status import ServerUrls
from quantbot_pipeline.settings import Settings, load_settings
from quantbot_pipeline.storage.migrations import migrate

_ASSETS = (
    "ohlcv_candles",
    "simulation_runs",
    "simulation_events",
    "simulation_aggregates",
    "simulation_results_summary",
)
_EVENTS_PER_BATCH = 1000

_PARTITIONS = """
assetPartitionStatuses {
  ... on MultiPartitionStatuses {
    primaryDimensionName
    ranges {
      primaryDimStartKey primaryDimEndKey
      secondaryDim {
        ... on TimePartitionStatuses { ranges { startKey endKey status } }
        ... on DefaultPartitionStatuses { materializedPartitions }
      }
    }
  }
}
"""

_QUERIES = {
    "lineage: all assets, as drawn": (
        "{ assetNodes { id assetKey { path } groupName kinds isPartitioned dependencyKeys { path } hasAssetChecks } }",
        {},
    ),
    "lineage: what each asset shows": (
        "query Live($keys: [AssetKeyInput!]) { assetNodes(assetKeys: $keys) { id assetMaterializations(limit: 1)"
        " { runId timestamp } partitionStats { numMaterialized numMaterializing numPartitions numFailed }"
        " freshnessStatusInfo { freshnessStatus } } }",
        {
            "keys": [
                {"path": [name]} for name in (*_ASSETS, "alerts", "calls", "strategies", "ml_features", "ml_models")
            ]
        },
    ),
    "asset: its partitions and their states": (
        "query Health($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode { id"
        " partitionKeysByDimension { name type partitionKeys } " + _PARTITIONS + " } } }",
        {"key": {"path": ["simulation_runs"]}},
    ),
    "asset: one partition and why it is stale": (
        "query One($key: AssetKeyInput!, $partition: String!) { assetNodeOrError(assetKey: $key) { ... on AssetNode"
        " { id staleStatus(partition: $partition) staleCauses(partition: $partition) { reason }"
        " assetMaterializations(partitions: [$partition], limit: 1) { runId timestamp } } } }",
        {"key": {"path": ["simulation_runs"]}, "partition": "@partition"},
    ),
    "backfill dialog: partitions of the four": (
        "query Dialog($keys: [AssetKeyInput!]) { assetNodes(assetKeys: $keys) { id isPartitioned"
        " partitionKeysByDimension { name type partitionKeys } " + _PARTITIONS + " } }",
        {"keys": [{"path": [name]} for name in _ASSETS[1:]]},
    ),
}


def main() -> int:
    """Print one line per query."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--months", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--home", type=Path, help="kept; a new one that is removed at the end when not given")
    options = parser.parse_args()
    if options.home is not None:
        _measure(options, options.home)
    else:
        with tempfile.TemporaryDirectory(prefix="quantbot-ui-") as folder:
            _measure(options, Path(folder) / "home")
    return 0


def _measure(options: argparse.Namespace, home: Path) -> None:
    now = datetime.now(UTC)
    first = now.year * 12 + now.month - options.months
    os.environ["QUANTBOT_FIRST_MONTH"] = f"{first // 12:04d}-{first % 12 + 1:02d}"
    settings = load_settings(home=home)
    is_new = not home.exists()
    urls = ensure_servers(settings)
    try:
        migrate(urls.postgres, urls.clickhouse)
        prepare_dagster_home(settings)
        if is_new:
            _record(settings, options.tokens)
        address = start_dagster_ui(settings)
        print(f"{address}, load {os.getloadavg()[0]:.1f}")
        _ask_all(settings, urls, address, options.repeats)
    finally:
        stop_dagster_ui(settings)
        stop_servers(settings)


def _record(settings: Settings, token_count: int) -> None:
    """Record one materialisation of each asset for every token-month."""
    import dagster as dg  # slow to import
    from dagster._core.events import DagsterEvent, StepMaterializationData
    from dagster._core.events.log import EventLogEntry
    from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID

    from quantbot_pipeline.defs.partitions import month_partitions, register_tokens, token_month_key
    from quantbot_pipeline.ingest.tokens import TokenKey
    from quantbot_pipeline.workflows.token_months import TokenMonth

    months = [key[:7] for key in month_partitions(settings).get_partition_keys()]
    keys = [
        TokenMonth(TokenKey("binance", f"T{number:03d}_USDT"), month)
        for number in range(token_count)
        for month in months
    ]
    began = time.perf_counter()
    with dg.DagsterInstance.get() as instance:
        register_tokens(instance, keys)
        for asset in _ASSETS:
            entries = []
            for key in keys:
                event = dg.AssetMaterialization(
                    asset, partition=token_month_key(key), metadata={"dagster/row_count": 8640}
                )
                entries.append(
                    EventLogEntry(
                        error_info=None,
                        user_message="",
                        level=20,
                        run_id=RUNLESS_RUN_ID,
                        timestamp=time.time(),
                        dagster_event=DagsterEvent(
                            "ASSET_MATERIALIZATION",
                            job_name=RUNLESS_JOB_NAME,
                            event_specific_data=StepMaterializationData(event),
                        ),
                    )
                )
            for start in range(0, len(entries), _EVENTS_PER_BATCH):
                instance.event_log_storage.store_event_batch(entries[start : start + _EVENTS_PER_BATCH])
    print(f"recorded {len(keys):,} partitions of {len(_ASSETS)} assets in {time.perf_counter() - began:.0f} s")


def _ask_all(settings: Settings, urls: ServerUrls, address: str, repeats: int) -> None:
    del urls
    partition = f"{settings.first_month}-01|binance:T000_USDT"
    for name, (query, variables) in _QUERIES.items():
        text = json.dumps({"query": query, "variables": variables}).replace("@partition", partition)
        seconds, size = [], 0
        for _ in range(repeats):
            began = time.perf_counter()
            answer = _ask(address, text.encode())
            seconds.append(time.perf_counter() - began)
            size = len(answer)
        document: dict[str, Any] = json.loads(answer)
        if "errors" in document:
            print(f"{name}: {document['errors'][0]['message']}")
            continue
        print(f"{name:42} first {seconds[0]:6.2f} s, then {min(seconds[1:] or seconds):6.2f} s, {size / 1000:8.0f} kB")
    for status in dagster_status(settings):
        if status.pid is not None:
            process = psutil.Process(status.pid)
            used = sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))
            print(f"{status.name}: {used / 1e6:.0f} MB with its code server")


def _ask(address: str, body: bytes) -> bytes:
    request = urllib.request.Request(  # noqa: S310 - the UI of this home
        f"{address}/graphql", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310 - the same
        found: bytes = answer.read()
    return found


if __name__ == "__main__":
    sys.exit(main())
