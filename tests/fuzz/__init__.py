"""Fuzzing by coverage: `python -m tests.fuzz.<name> --seconds 600`; needs the extra `fuzz`."""
