"""Compiling the engine's kernels ahead of their first use.

Whoever simulates gets kernels that are ready or compiles them on the way, which takes 10 to 60 seconds once
per installation; here one can ask whether that is due, and have it done.
"""

from pathlib import Path
from typing import Any

import numpy as np

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.fast import simulate_many
from quantbot_pipeline.engine.kernels.compiling import OUTER_KERNELS
from quantbot_pipeline.strategy.model import parse_strategy

_CLOSE_ABOVE_AVERAGE = {
    "left": {"candle": "close"},
    "op": ">",
    "right": {"indicator": "sma", "params": {"period": 1}},
    "lookback": 2,
    "min_true": 1,
}

_STRATEGY = {"name": "compile", "entry": {"type": "immediate"}, "exits": {"when": _CLOSE_ABOVE_AVERAGE}}
"""It takes every kernel once: indicators, comparisons, persistence, trades."""


def is_compiled() -> bool:
    """Return whether this process can simulate without compiling first.

    It can where the kernels were compiled before: by this process, or by another one, from the same sources, for the
    same numba and kind of processor, and kept where this one looks. Asking takes some milliseconds.
    """
    return all(kernel.signatures or _is_kept(kernel) for kernel in OUTER_KERNELS)


def _is_kept(kernel: Any) -> bool:
    """Return whether numba's cache has the kernel for this machine; what has no cache keeps nothing."""
    # numba offers no way to ask but to load; its cache is a file of names by (signature, machine, code).
    index = getattr(kernel._cache, "_cache_file", None)
    if index is None:
        return False
    machine = kernel.targetctx.codegen().magic_tuple()
    return any(
        key[1] == machine and (Path(kernel.stats.cache_path) / name).exists()
        for key, name in index._load_index().items()
    )


def compile_engine() -> None:
    """Load the compiled kernels, and compile them where nobody did so before.

    Processes that do so at the same time disturb each other in nothing but time.
    """
    prices = np.ones(2)
    candles = Candles(60, np.array([0, 60], dtype=np.int64), prices, prices, prices, prices, prices)
    (run,) = simulate_many({None: candles}, {None: [Call(1, 1, 0)]}, [parse_strategy(_STRATEGY)])
    run.trades()
    run.metrics()
