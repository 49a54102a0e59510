"""Labels: what a model is to predict about a call, and when that became known."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from quantbot_pipeline.errors import LearningError
from quantbot_pipeline.learning.past_trades import PastTrade, float_column, past_trade_table


class LabelDefinition(BaseModel):
    """How the label of a call is made; stored with every model as `label_definition`.

    Attributes:
        name: Name of the label.
        strategy: Name of the strategy whose trade of the call is judged.
        kind: `pnl_above`: 1 when the trade's net pnl is above the threshold, else 0.
        threshold: Fraction of capital; 0.1 asks for more than 10 % profit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    strategy: str = Field(min_length=1)
    kind: Literal["pnl_above"] = "pnl_above"
    threshold: float = Field(default=0.0, allow_inf_nan=False)


LABEL_SCHEMA = pa.schema(
    [
        pa.field("call_id", pa.int64(), nullable=False),
        pa.field("signal_timestamp", pa.int64(), nullable=False),
        pa.field("label", pa.int64(), nullable=False),
        pa.field("label_end", pa.int64(), nullable=False),
        pa.field("pnl", pa.float64(), nullable=False),
    ]
)
"""Labels by call: the label (0 or 1), and `label_end`, the second in which it became known."""


def build_labels(definition: LabelDefinition, trades: pa.Table | Sequence[PastTrade]) -> pa.Table:
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
    table = table.filter(wanted).sort_by([("signal_timestamp", "ascending"), ("call_id", "ascending")])
    call_ids, counts = np.unique(table.column("call_id").to_numpy(), return_counts=True)
    if len(call_ids) < table.num_rows:
        raise LearningError(
            f"strategy {definition.strategy!r} has {int(counts.max())} trades of call "
            f"{int(call_ids[np.argmax(counts)])}; allowed is one: give the trades of current runs only"
        )
    return pa.Table.from_arrays(
        [
            table.column("call_id"),
            table.column("signal_timestamp"),
            pa.array((float_column(table, "pnl") > definition.threshold).astype(np.int64)),
            table.column("done_at"),
            table.column("pnl"),
        ],
        schema=LABEL_SCHEMA,
    )
