"""Measuring: `quantbot bench`. What is measured lives elsewhere; nothing in the project depends on this room.

`markets` and `works` say what is measured on and what is done, `timing` how, `engine` measures in this process,
`processes` whole processes, `peers` other back-testers in an environment of their own, `document` puts one run
together and `tables` shows it.
"""
