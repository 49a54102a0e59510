"""The text form of objectives: read by hand, character by character, never evaluated.

    objective  = goal ("," goal)* ["," "min_trades" "=" number] ["subject" "to" limit (("and" | ",") limit)*]
    goal       = [("max" | "min") ":"] sum | metric ":" ("max" | "min")
    sum        = ["-"] term (("+" | "-") term)*
    term       = number "*" metric | metric ["*" number | "/" number]
    limit      = metric (">=" | "<=" | ">" | "<" | "==") ["-"] number

`min_trades=N` is short for `subject to trade_count >= N`. Messages name the position of what can't be read,
counted from 1.
"""

import re
from dataclasses import dataclass
from typing import NoReturn, cast

from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.optimization.objectives import METRIC_DIRECTIONS, Comparison, Direction, Goal, Limit, Objective

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<word>[A-Za-z_]\w*)|(?P<sign>>=|<=|==|[-+*/:,<>=]))",
    re.ASCII,
)

_DIRECTIONS = ("max", "min")

_COMPARISONS = (">=", "<=", ">", "<", "==")


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


def read_objective_text(text: str) -> Objective:
    """Return the objective of a text.

    Raises:
        ConfigError: the text can't be read, with the position and what is allowed there.
    """
    return _Reader(text).objective()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split()
        self._next = 0

    def objective(self) -> Objective:
        goals, limits = [self._goal()], []
        while self._take(","):
            if self._peek().text == "min_trades":
                limits.append(self._min_trades())
                break
            goals.append(self._goal())
        if self._take("subject"):
            if not self._take("to"):
                self._refuse("'to' after 'subject'")
            limits.append(self._limit())
            while self._take("and") or self._take(","):
                limits.append(self._limit())
        if self._peek().kind != "end":
            self._refuse("'subject to', a comma, + or -, or the end" if not limits else "'and' or the end")
        return Objective(goals=tuple(goals), limits=tuple(limits))

    def _split(self) -> list[_Token]:
        tokens: list[_Token] = []
        position = 0
        end = len(self._text.rstrip())
        while position < end:
            found = _TOKEN.match(self._text, position)
            if found is None:
                blank = len(self._text[position:]) - len(self._text[position:].lstrip())
                where = position + blank
                raise ConfigError(
                    f"objective {self._text!r} can't be read: position {where + 1}: found {self._text[where]!r}; "
                    "allowed are metrics, numbers, + - * / : , and comparisons, such as "
                    "'sharpe_ratio' or '0.7*final_pnl - 0.3*max_drawdown subject to trade_count >= 30'"
                )
            kind = str(found.lastgroup)
            tokens.append(_Token(kind, found.group(kind), found.start(kind)))
            position = found.end()
        tokens.append(_Token("end", "", end))
        return tokens

    def _peek(self, ahead: int = 0) -> _Token:
        return self._tokens[min(self._next + ahead, len(self._tokens) - 1)]

    def _take(self, text: str) -> bool:
        if self._peek().kind != "end" and self._peek().text == text:
            self._next += 1
            return True
        return False

    def _refuse(self, allowed: str, token: _Token | None = None) -> NoReturn:
        token = token or self._peek()
        found = repr(token.text) if token.kind != "end" else "the end"
        raise ConfigError(
            f"objective {self._text!r} can't be read: position {token.position + 1}: found {found}; "
            f"allowed is {allowed}"
        )

    def _goal(self) -> Goal:
        direction: str | None = None
        if self._peek(1).text == ":" and self._peek().text in _DIRECTIONS:
            direction = self._peek().text
            self._next += 2
        first = self._peek()
        terms = self._sum()
        if direction is None and self._take(":"):
            if self._peek().text not in _DIRECTIONS:
                self._refuse("max or min")
            direction = self._peek().text
            self._next += 1
        # A metric alone has a better direction of its own; a sum is written so that more is better.
        if direction is None and len(terms) == 1 and next(iter(terms.values())) > 0:
            [metric] = terms
            direction = METRIC_DIRECTIONS[metric]
            if direction is None:
                self._refuse(f"a direction for {metric}, max or min, such as 'max:{metric}'", first)
        return Goal(terms=terms, direction=cast("Direction", direction or "max"))

    def _sum(self) -> dict[str, float]:
        terms: dict[str, float] = {}
        sign = -1.0 if self._take("-") else 1.0
        while True:
            token = self._peek()
            metric, weight = self._term()
            if metric in terms:
                self._refuse(f"each metric once, and {metric!r} is there already", token)
            terms[metric] = sign * weight
            if self._take("+"):
                sign = 1.0
            elif self._take("-"):
                sign = -1.0
            else:
                return terms

    def _term(self) -> tuple[str, float]:
        start = self._peek()
        if start.kind == "number":
            weight = self._number()
            if not self._take("*"):
                self._refuse("'*' and a metric after a weight")
            metric = self._metric()
        else:
            metric, weight = self._metric(), 1.0
            if self._take("*"):
                weight = self._number()
            elif self._take("/"):
                divisor = self._peek()
                weight = self._number()
                if weight == 0:
                    self._refuse("a number above 0", divisor)
                weight = 1 / weight
        if weight == 0 or weight == float("inf"):
            self._refuse("a weight above 0", start)
        return metric, weight

    def _metric(self) -> str:
        token = self._peek()
        if token.kind != "word":
            self._refuse("a metric, such as final_pnl or sharpe_ratio")
        if token.text not in METRIC_DIRECTIONS:
            raise ConfigError(
                f"objective {self._text!r}: position {token.position + 1}: unknown metric {token.text!r}; allowed are "
                f"{', '.join(METRIC_DIRECTIONS)}"
            )
        self._next += 1
        return token.text

    def _number(self) -> float:
        token = self._peek()
        if token.kind != "number":
            self._refuse("a number")
        self._next += 1
        value = float(token.text)
        if value == float("inf"):
            self._refuse("a finite number", token)
        return value

    def _min_trades(self) -> Limit:
        self._next += 1
        if not self._take("="):
            self._refuse("'=' after 'min_trades'")
        token = self._peek()
        if not re.fullmatch(r"\d{1,9}", token.text):
            self._refuse("a whole number of at least 0")
        return Limit(metric="trade_count", comparison=">=", bound=self._number())

    def _limit(self) -> Limit:
        metric = self._metric()
        comparison = self._peek().text
        if comparison not in _COMPARISONS:
            self._refuse("one of >=, <=, >, <, ==")
        self._next += 1
        sign = -1.0 if self._take("-") else 1.0
        return Limit(metric=metric, comparison=cast("Comparison", comparison), bound=sign * self._number())
