"""The command line: argument parsing and display only; what is done is in workflows and defs."""
