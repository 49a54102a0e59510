"""Compiled kernels of the fast engine: plain numbers in, plain numbers out, no Python objects inside.

`quantbot_pipeline.engine.fast` is their only user. Every function with suffix `_nb` is compiled by numba, without
relaxed floating point: the operations and their order are those of the reference engine, so results are
equal to the last bit. Compiled code is kept beside the source (numba's `cache=True`).

numba stamps its cache by the file of the function that is called: what one kernel file shares with another
belongs into `market`, which is small and stays as it is.
"""
