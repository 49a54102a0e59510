"""Is the winner of a search distinguishable from luck? Splits, tests and the verdict, over numpy arrays.

`docs/honesty.md` says what each number means, where its formula comes from and how often the verdict errs.

Conventions: rows are time (calls in the order of their signals, or periods, oldest first), columns are trials.
A result is a trade's `pnl`, 0 for a call that a trial did not buy. Times are whole seconds since the epoch, UTC.
Everything random takes a seed, and the same seed gives the same numbers.
"""
