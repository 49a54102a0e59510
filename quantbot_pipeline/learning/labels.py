"""Labels: what a model is to predict about a call, and when that became known.

A label begins at the call's signal and ends when its value was known (`label_end`); splits need both. A call whose
label had not ended when the data did has none: its value would say when the data ends.

Labels of a strategy's trade are made here; those of the candles after a call in `barrier_labels`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from quantbot_pipeline.engine.candles import FloatArray
from quantbot_pipeline.errors import InputError, LearningError
from quantbot_pipeline.learning.past_trades import PastTrade, float_column, past_trade_table

Task = Literal["classification", "regression"]

_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Fraction = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_LossFraction = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
_Seconds = Annotated[int, Field(ge=1, le=400_000_000)]


class _Definition(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: _Name


class PnlAbove(_Definition):
    """1 when the net pnl of a strategy's trade of the call is above the threshold, else 0.

    Attributes:
        name: Name of the label.
        strategy: Name of the strategy.
        threshold: Fraction of capital; 0.1 asks for more than 10 % profit.
    """

    kind: Literal["pnl_above"] = "pnl_above"
    strategy: _Name
    threshold: float = Field(default=0.0, allow_inf_nan=False)


class Pnl(_Definition):
    """The net pnl of a strategy's trade of the call, fraction of capital.

    Attributes:
        name: Name of the label.
        strategy: Name of the strategy.
    """

    kind: Literal["pnl"] = "pnl"
    strategy: _Name


class TimeToTarget(_Definition):
    """Seconds from the signal until the price first touched the target; the horizon where it never did.

    Attributes:
        name: Name of the label.
        target: How far above the first open after the call the target is, fraction of it.
        horizon_seconds: How long it is waited for, from the candle of that open; what takes longer counts as this.
        max_staleness_seconds: A call whose first candle opens later than this has no label.
    """

    kind: Literal["time_to_target"] = "time_to_target"
    target: _Fraction
    horizon_seconds: _Seconds
    max_staleness_seconds: int = Field(default=900, ge=0, le=400_000_000)


class TripleBarrier(_Definition):
    """Which of three barriers the price met first: above, below, or the end of the time.

    Attributes:
        name: Name of the label.
        upper: How far above the first open after the call the upper barrier is, fraction of it.
        lower: How far below the lower one is.
        horizon_seconds: When the time ends, from the candle of that open.
        classes: `upper`: 1 for the upper barrier, else 0. `signed`: 1 upper, -1 lower, 0 end of the time.
        max_staleness_seconds: A call whose first candle opens later than this has no label.
    """

    kind: Literal["triple_barrier"] = "triple_barrier"
    upper: _Fraction
    lower: _LossFraction
    horizon_seconds: _Seconds
    classes: Literal["upper", "signed"] = "upper"
    max_staleness_seconds: int = Field(default=900, ge=0, le=400_000_000)


TradeLabel = PnlAbove | Pnl
CandleLabel = TimeToTarget | TripleBarrier
LabelDefinition = Annotated[TradeLabel | CandleLabel, Field(discriminator="kind")]
"""How the label of a call is made; stored with every model as `label_definition`."""

_DEFINITION: TypeAdapter[TradeLabel | CandleLabel] = TypeAdapter(LabelDefinition)

LABEL_SCHEMA = pa.schema(
    [
        pa.field("call_id", pa.int64(), nullable=False),
        pa.field("signal_timestamp", pa.int64(), nullable=False),
        pa.field("label", pa.float64(), nullable=False),
        pa.field("label_end", pa.int64(), nullable=False),
        pa.field("pnl", pa.float64(), nullable=False),
    ]
)
"""Labels by call: the value, `label_end`, the second in which it was known, and what taking the call earned.

`pnl` is the net pnl of the strategy's trade, or, for labels of candles, the return without costs from the first open
to the barrier that was met. Rows are ordered by signal time and call.
"""


def task_of(definition: TradeLabel | CandleLabel) -> Task:
    """Return what kind of model learns the label."""
    return "classification" if isinstance(definition, PnlAbove | TripleBarrier) else "regression"


def parse_label_definition(document: Mapping[str, Any]) -> TradeLabel | CandleLabel:
    """Return the definition that a JSON document holds.

    Raises:
        InputError: a field is missing, unknown or out of bounds; the message names each.
    """
    try:
        return _DEFINITION.validate_python(document)
    except ValidationError as e:
        faults = "; ".join(_fault(each["loc"], each["msg"], each.get("input")) for each in e.errors()[:5])
        raise InputError(
            f"label definition: {faults}; kinds are pnl_above, pnl, time_to_target and triple_barrier, described in "
            "docs/features.md"
        ) from e


def load_label_definition(path: Path) -> TradeLabel | CandleLabel:
    """Return the definition that a JSON file holds.

    Raises:
        InputError: the file can't be read, is no JSON, or its definition is refused.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise InputError(
            f"label definition {path}: there is no such file; allowed are pnl, or a file with a definition of "
            "docs/features.md"
        ) from e
    except OSError as e:
        raise InputError(f"label definition {path}: the file can't be read: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise InputError(f"label definition {path}: the file is no UTF-8 text: {e.reason}") from e
    except json.JSONDecodeError as e:
        raise InputError(f"label definition {path.name}, line {e.lineno}: no JSON: {e.msg}") from e
    if not isinstance(document, dict):
        raise InputError(f"label definition {path.name}: found a {type(document).__name__}; allowed is an object")
    return parse_label_definition(document)


def build_labels(definition: TradeLabel, trades: pa.Table | Sequence[PastTrade]) -> pa.Table:
    """Return the labels of the calls that the definition's strategy traded.

    Args:
        definition: What the label is.
        trades: Trades of any strategies; those of others, and those that never bought, give no label.

    Returns:
        A table of `LABEL_SCHEMA`, ordered by signal time and call.

    Raises:
        LearningError: the strategy has two trades of one call, or the table is not one of past trades.
    """
    table = past_trade_table(trades)
    wanted = pc.and_(pc.equal(table.column("strategy"), definition.strategy), pc.is_finite(table.column("pnl")))
    # A null pnl gives a null here, which `filter` drops.
    table = table.filter(wanted)
    call_ids, counts = np.unique(table.column("call_id").to_numpy(), return_counts=True)
    if len(call_ids) < table.num_rows:
        raise LearningError(
            f"strategy {definition.strategy!r} has {int(counts.max())} trades of call "
            f"{int(call_ids[np.argmax(counts)])}; allowed is one: give the trades of current runs only"
        )
    pnl = float_column(table, "pnl")
    label: FloatArray = (pnl > definition.threshold).astype(np.float64) if isinstance(definition, PnlAbove) else pnl
    return label_table(
        table.column("call_id"), table.column("signal_timestamp"), label, table.column("known_at"), table.column("pnl")
    )


def label_table(call_id: Any, signal_timestamp: Any, label: Any, label_end: Any, pnl: Any) -> pa.Table:
    """Return a table of `LABEL_SCHEMA` in its order; each argument is an array or Arrow column."""
    columns = (call_id, signal_timestamp, label, label_end, pnl)
    table = pa.table(dict(zip(LABEL_SCHEMA.names, columns, strict=True))).cast(LABEL_SCHEMA)
    return table.sort_by([("signal_timestamp", "ascending"), ("call_id", "ascending")])


def _fault(place: tuple[int | str, ...], message: str, found: object) -> str:
    # The first part of the place names the kind; a person wrote one level of fields.
    fields = [str(part) for part in place if part not in ("pnl_above", "pnl", "time_to_target", "triple_barrier")]
    shown = "" if isinstance(found, Mapping) else f" (found {found!r})"
    return f"{'.'.join(fields) or 'kind'}: {message[:1].lower()}{message[1:]}{shown}"
