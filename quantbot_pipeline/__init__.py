"""Research lab for trading on calls: ingest, simulate, search, learn, report."""

__version__ = "0.1.0"
