"""The tests; folders mirror the package where they hold unit tests."""
