"""The one error tree of the project.

::

    QuantbotError
    ├── InputError            what a user gave is wrong: a file, an option, a strategy      (exit code 2)
    │   ├── ConfigError       settings, environment, run configuration
    │   ├── StrategyError     a strategy document; `path` names the field
    │   ├── SearchSpaceError  a search space document
    │   └── DataError         files and rows of candles and alerts
    ├── StorageError          a database refused or lost something                          (exit code 3)
    │   ├── ServerError       a server does not start, answer, or let us in
    │   └── MigrationError    the schema in the database is not the one in `sql/`
    ├── SourceError           a source of candles on the network gave no usable answer      (exit code 3)
    ├── SimulationError       a run could not be computed or differs from what is stored    (exit code 4)
    ├── EvidenceError         splits, tests or the verdict of a search can't be computed      (exit code 4)
    ├── LearningError         features, labels or a model can't be built or loaded          (exit code 4)
    │   └── TooFewCallsError  too few calls have a label, or all have the same one
    └── IntegrityError        counts that must add up do not                                (exit code 5)

Every message says what is wrong, for which key or file and line, what was found, what is allowed,
and what to do. Messages never hold passwords.
"""


class QuantbotError(Exception):
    """Base of every error that the project raises on purpose."""

    exit_code = 1


class InputError(QuantbotError):
    """Something that a user gave can't be used; nothing was changed."""

    exit_code = 2


class ConfigError(InputError):
    """A setting, environment variable or run configuration is wrong."""


class StrategyError(InputError):
    """A strategy document is refused; the message names the path of the field."""


class SearchSpaceError(InputError):
    """A search space document is refused; the message names the path of the field."""


class DataError(InputError):
    """A file or row of market data or alerts can't be used."""


class StorageError(QuantbotError):
    """A database refused or lost something."""

    exit_code = 3


class ServerError(StorageError):
    """A server does not start, does not answer, or does not let us in."""


class MigrationError(StorageError):
    """The schema in a database is not the one that `sql/` describes."""


class SourceError(QuantbotError):
    """A source gave no usable answer; the message says what was asked for, what came, and what to do."""

    exit_code = 3


class SimulationError(QuantbotError):
    """A run could not be computed, or its rows differ from those stored under the same key."""

    exit_code = 4


class EvidenceError(QuantbotError):
    """Splits, tests or the verdict of a search can't be computed from what was given."""

    exit_code = 4


class LearningError(QuantbotError):
    """Features, labels or a model can't be built, stored or loaded."""

    exit_code = 4


class TooFewCallsError(LearningError):
    """Too few calls have a label, or all have the same one; a model of another strategy's trades may have enough."""


class IntegrityError(QuantbotError):
    """Counts that must add up do not."""

    exit_code = 5
