"""The command `python -m quantbot_pipeline.cli.compile_engine`: compile the engine now, so that nobody waits later."""

import time

import typer

from quantbot_pipeline.engine.compilation import compile_engine, is_compiled


def main() -> None:
    """Compile the engine's kernels where that was not done yet, and say how long it took."""
    was_compiled = is_compiled()
    began = time.perf_counter()
    compile_engine()
    seconds = time.perf_counter() - began
    typer.echo(f"{'loaded the compiled engine' if was_compiled else 'compiled the engine'} in {seconds:.1f} s")


if __name__ == "__main__":
    main()
