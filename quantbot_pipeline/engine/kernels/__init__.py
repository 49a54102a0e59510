"""Compiled kernels of the fast engine: plain numbers in, plain numbers out, no Python objects inside.

`quantbot_pipeline.engine.fast` is their only user. Every function with suffix `_nb` is compiled by numba, without
relaxed floating point: the operations and their order are those of the reference engine, so results are
equal to the last bit. Compiled code is kept beside the source (numba's `cache=True`).

numba's cache of a kernel holds all it calls, and is fresh as long as the kernel's own file and the shared ones
(`market` and `quantbot_pipeline.strategy.compile`) stay as they are; kernels include nothing else.
"""
