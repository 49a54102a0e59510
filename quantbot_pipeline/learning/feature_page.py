"""The page `docs/features.md`, made of the registry: `quantbot features list --markdown`."""

# ruff: noqa: E501 - the text is Markdown, whose table rows can't be broken; its prose is as wide as the other pages.

from quantbot_pipeline.learning.feature_registry import (
    ATTRIBUTE_PREFIX,
    FAMILIES,
    FEATURE_SET,
    FEATURES,
    PRIOR_TRADES,
    FeatureSpec,
)

_HEAD = f"""# Features, labels, splits

Made by `quantbot features list --markdown` from the registry (`quantbot_pipeline/learning/feature_registry.py`); a test
compares. Version of the set: `{FEATURE_SET}`. {len(FEATURES)} features, each float64, NaN where it is unknown, never
infinite.

## What a feature may know

What was known at `signal_timestamp`, and nothing else:

- a candle from the second it is closed (open time + interval); the candle that is open at the signal is not read;
- a trade from one candle after its last event: an event inside a candle bears the candle's open time, but nobody knew of
  it before the candle closed. Trades that the end of the data closed (`final_exit`) are no results;
- another call if it is earlier by a second or more. Of two calls in one second none came first;
- of the alert, what it states itself.

Tests hold every feature of the registry to it, bit by bit: its value stays the same when everything after a moment is cut
off, and when it is replaced. Look-ahead by one candle, one second, one trade, one call or one message is planted to see that
these tests notice it in every feature it touches.

Where a token has candles of several intervals, a call reads the finest one that has a candle closed in the day before, else
the one whose last candle closed last. Indicators read as many candles as the engine declares for their warm-up, so a value does
not depend on what else was loaded; it equals what strategies see to a relative 1e-9.

## Building them

```sh
quantbot features build --strategy conservative-24h
quantbot features build --feature {ATTRIBUTE_PREFIX}score
quantbot features list --json
```

`--strategy` names the strategy whose trades are the callers' records; `quantbot train` and `quantbot score` build what they
need. Only calls whose inputs changed are built again: each row of `ml_features` has a stamp over the set, the version of the
engine, its features that need no candles, and the contents of its token's candles up to the month of the call. A score keeps the
stamp and the values that it was made of. `feature_set` is
`{FEATURE_SET}/<strategy>`, followed by the user's own features, so that sets for two strategies stand side by side.

**Your own columns.** `--feature {ATTRIBUTE_PREFIX}<column>` takes a number (or true and false, as 1 and 0) from the alert's
attributes, or from the row of the file as it was read. The name is as written there. Whether its values were known at the alert
is for you to say; a column whose name tells that they were not is refused: `max_gain`, `gains_count`, `ath`, `peak_multiple`,
`x_multiple`, `pnl`, `exit_price`, `final_price`, `is_win`, `targets_hit`, `label` and their like, in any spelling.

## The features
"""

_TAIL = f"""
A shrunk record counts {PRIOR_TRADES} trades at the mean of everyone beside the caller's own: three wins of three say less than
thirty of forty. The count is a feature of its own, `caller_finished_trades`.

## Labels

A label is a JSON document, stored with every model as `label_definition`. It begins at the signal and ends when its value was
known (`label_end`), which the splits need. A call whose time the data does not cover has none, also where its trade was over:
near the end of the data the quick ones would be the only ones.

| kind | fields | value | known |
| --- | --- | --- | --- |
| `pnl_above` | `strategy`, `threshold` (0) | 1 if the net pnl of the strategy's trade is above the threshold, else 0 | one candle after the trade's last event |
| `pnl` | `strategy` | that pnl, fraction of capital | the same |
| `time_to_target` | `target`, `horizon_seconds`, `max_staleness_seconds` (900) | seconds from the signal to the first touch of the target; the horizon where there is none within it | at the touch, or the horizon |
| `triple_barrier` | `upper`, `lower`, `horizon_seconds`, `classes` (`upper` or `signed`), `max_staleness_seconds` (900) | `upper`: 1 if the upper barrier was met first, else 0; `signed`: 1, -1, or 0 at the end of the time | the same |

Each has a `name` too. Barriers are fractions of the open of the first candle at or after the signal, and are met by the rules of a
trade without costs (`docs/engine.md`): where one candle touches both, the lower one counts; an open beyond a barrier counts at
its open. A test holds them to the reference engine.

```json
{{"kind": "triple_barrier", "name": "up-half-before-down-fifth", "upper": 0.5, "lower": 0.2, "horizon_seconds": 86400}}
```

## Splits

By the rules of `optimization/honesty/time_splits.py`, which the verdict on searches uses too. No training row's label overlaps
a test row's, from its signal to its end, or the embargo.

| kind | fields | what |
| --- | --- | --- |
| `walk_forward` | `test_seconds`, `train_seconds` (all before), `step_seconds` (`test_seconds`) | learns from what was known `embargo_seconds` before each test window |
| `combinatorial` | `group_count` (6), `test_group_count` (2) | every choice of test groups in time; nothing is learned from what overlaps a test group or begins within `embargo_seconds` after it |

`"group_by": "token"` leaves out of training every token that is tested.
"""


def feature_page() -> str:
    """Return the page, Markdown."""
    parts = [_HEAD]
    for family, meaning in FAMILIES.items():
        parts += [f"\n### {family}\n\n{meaning}\n\n| feature | meaning | unit | from | NaN where |\n"]
        parts += ["| --- | --- | --- | --- | --- |\n"]
        parts += [_row(feature) for feature in FEATURES if feature.family == family]
    return "".join([*parts, _TAIL])


def _row(feature: FeatureSpec) -> str:
    sources = ", ".join(feature.sources)
    return f"| `{feature.name}` | {feature.meaning} | {feature.unit} | {sources} | {feature.unknown} |\n"
