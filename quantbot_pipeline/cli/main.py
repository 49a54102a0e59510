"""The command `quantbot` as the shell starts it: takes charge of Ctrl-C, then loads what there is to run."""

import sys

from quantbot_pipeline.cli import interrupts

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Imported for the type checker alone: nothing is loaded before Ctrl-C is in good hands.
    from collections.abc import Sequence


def main(arguments: "Sequence[str] | None" = None) -> None:
    """Run the command and exit.

    Args:
        arguments: Those of the command line, the program aside; without them the process's own, and then Ctrl-C stays
            in the command's hands until the process has ended.
    """
    interrupts.begin()
    if arguments is None:
        interrupts.keep_to_the_end()
    try:
        from quantbot_pipeline.cli.app import run

        interrupts.run()
        try:
            code = run(arguments)
        except KeyboardInterrupt:
            # A second one, while the first was answered.
            code = interrupts.INTERRUPTED
            interrupts.end(code)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
            # Here, where the exception is alive: once it is gone, it counts as lost.
            interrupts.end(code)
        interrupts.end(code)
    finally:
        if arguments is not None:
            interrupts.give_back()
    sys.exit(code)
