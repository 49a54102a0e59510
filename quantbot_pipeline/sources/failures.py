"""What can go wrong between us and a source; all of it exit code 3, like everything that a server refuses."""

from quantbot_pipeline.errors import SourceError


class SourceUnreachableError(SourceError):
    """Nothing that could be used came back in all tries: the network or the source is down, for every token."""


class SourceAccessError(SourceError):
    """The source does not let us in: the key is wrong or its plan too small, for every token."""


class SourceNotFoundError(SourceError):
    """The source does not know what was asked for."""
