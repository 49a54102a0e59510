"""Getting the compiled engine ready, and saying so where that takes long."""

from collections.abc import Callable

COMPILING = "compiling the engine, once per installation"
"""What is told before the engine is compiled, which takes about half a minute."""


def prepare_engine(tell: Callable[[str], None]) -> None:
    """Load the compiled engine, and tell if it has to be compiled; every workflow that simulates calls this first.

    Args:
        tell: Told what is being waited for, before the wait.
    """
    # Loading the kernels takes a while, which commands that only ask for help need not wait for.
    from quantbot_pipeline.engine import compilation

    if not compilation.is_compiled():
        tell(COMPILING)
