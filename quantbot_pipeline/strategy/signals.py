"""The signal tree of a strategy: groups of conditions on indicators, candles and the scores of calls.

Only what a document may say lives here; `quantbot_pipeline.engine.conditions` evaluates it.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from quantbot_pipeline.strategy.indicator_catalogue import INDICATORS, MAX_PERIOD, SINGLE_FIELD
from quantbot_pipeline.strategy.values import Fault, Number, Text, Whole, describe, faults_error

Operator = Literal[">", ">=", "<", "<=", "==", "!=", "crosses_above", "crosses_below"]
ScoreOperator = Literal[">", ">=", "<", "<=", "==", "!="]
CandleField = Literal["open", "high", "low", "close", "volume"]

_SHIFT = Whole(ge=0, le=MAX_PERIOD)
_COUNT = Whole(ge=1, le=MAX_PERIOD)


class StrategyPart(BaseModel):
    """Base of everything in a strategy: frozen, unknown keys refused, `null` means left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _null_is_left_out(cls, document: Any) -> Any:
        if not isinstance(document, Mapping):
            return document
        known = {info.alias or name for name, info in cls.model_fields.items()}
        return {key: value for key, value in document.items() if value is not None or key not in known}


class IndicatorOperand(StrategyPart):
    """The value of an indicator, `shift` candles earlier.

    Attributes:
        indicator: A name of the catalogue.
        params: Its parameters, defaults filled in.
        field: Which output; `value` for an indicator with one output.
        shift: How many candles earlier.
    """

    model_config = ConfigDict(json_schema_extra=lambda schema: _write_indicator_schema(schema))

    indicator: Annotated[str, BeforeValidator(lambda name: _check_indicator(name))]
    params: dict[str, Any] = Field(default_factory=dict)
    field: str | None = None
    shift: Annotated[int, _SHIFT] = 0

    @model_validator(mode="before")
    @classmethod
    def _check_parameters(cls, document: Any) -> Any:
        """Check `params` and `field` against the catalogue and fill in their defaults."""
        if not isinstance(document, Mapping):
            return document
        specification = INDICATORS.get(name) if isinstance(name := document.get("indicator"), str) else None
        if specification is None:
            return document
        given = document.get("params")
        given = {} if given is None else given
        if not isinstance(given, Mapping):
            allowed = f"an object of {', '.join(specification.parameters)}"
            raise faults_error([Fault(".params", describe(given), allowed)])
        faults = [
            Fault(
                f".params.{key}",
                "an unknown parameter",
                f"for {name}: {', '.join(specification.parameters)}",
            )
            for key in given
            if key not in specification.parameters
        ]
        params: dict[str, float] = {}
        for key, kind in specification.parameters.items():
            value = given.get(key, specification.defaults.get(key))
            if value is None:
                faults.append(Fault(f".params.{key}", "nothing (it is required)", kind.allowed))
                continue
            try:
                params[key] = kind.check(value)
            except ValueError:
                faults.append(Fault(f".params.{key}", describe(value), kind.allowed))
        if name == "macd" and not faults and params["fast"] >= params["slow"]:
            faults.append(Fault(".params.fast", describe(given["fast"]), f"less than slow, which is {params['slow']}"))
        output = document.get("field")
        if output is None and specification.fields == (SINGLE_FIELD,):
            output = SINGLE_FIELD
        if not isinstance(output, str) or output not in specification.fields:
            found = "nothing (it is required)" if output is None else describe(output)
            faults.append(Fault(".field", found, f"for {name}: {', '.join(specification.fields)}"))
        if faults:
            raise faults_error(faults)
        return {**document, "params": params, "field": output}


class CandleOperand(StrategyPart):
    """A field of the candle itself, `shift` candles earlier."""

    candle: CandleField
    shift: Annotated[int, _SHIFT] = 0


def _check_indicator(name: object) -> object:
    if not isinstance(name, str) or name not in INDICATORS:
        raise faults_error([Fault("", describe(name), f"one of {', '.join(INDICATORS)}")])
    return name


def _write_indicator_schema(schema: dict[str, Any]) -> None:
    """Replace the schema of an indicator operand by one alternative per indicator."""
    shift = schema["properties"]["shift"]
    alternatives = []
    for name, specification in INDICATORS.items():
        parameters = {
            key: kind.json_schema()
            | ({"default": specification.defaults[key]} if key in specification.defaults else {})
            for key, kind in specification.parameters.items()
        }
        required_parameters = [key for key in parameters if key not in specification.defaults]
        single = specification.fields == (SINGLE_FIELD,)
        alternatives.append(
            {
                "type": "object",
                "properties": {
                    "indicator": {"const": name},
                    "params": {
                        "type": "object",
                        "properties": parameters,
                        "required": required_parameters,
                        "additionalProperties": False,
                    },
                    "field": {"enum": list(specification.fields)},
                    "shift": shift,
                },
                "required": ["indicator"] + (["params"] if required_parameters else []) + ([] if single else ["field"]),
                "additionalProperties": False,
            }
        )
    title = schema["title"]
    schema.clear()
    schema.update({"title": title, "oneOf": alternatives})


def _operand_tag(value: Any) -> str | None:
    if isinstance(value, IndicatorOperand) or (isinstance(value, Mapping) and "indicator" in value):
        return "<indicator>"
    if isinstance(value, CandleOperand) or (isinstance(value, Mapping) and "candle" in value):
        return "<candle>"
    return None


def _right_tag(value: Any) -> str | None:
    if isinstance(value, int | float):
        return "<number>"
    return _operand_tag(value)


_OPERAND_ALLOWED = '{"indicator": ..., "params": ...} or {"candle": ...}'

LeftOperand = Annotated[
    Annotated[IndicatorOperand, Tag("<indicator>")] | Annotated[CandleOperand, Tag("<candle>")],
    Discriminator(
        _operand_tag,
        custom_error_type="tag",
        custom_error_message=_OPERAND_ALLOWED,
    ),
]
RightOperand = Annotated[
    Annotated[IndicatorOperand, Tag("<indicator>")]
    | Annotated[CandleOperand, Tag("<candle>")]
    | Annotated[float, Number(), Tag("<number>")],
    Discriminator(
        _right_tag,
        custom_error_type="tag",
        custom_error_message=f"{_OPERAND_ALLOWED} or a number",
    ),
]


class Persistent(StrategyPart):
    """What may ask for persistence: true on at least `min_true` of the last `lookback` closed candles."""

    lookback: Annotated[int, _COUNT] = 1
    min_true: Annotated[int, _COUNT] = 1

    @model_validator(mode="before")
    @classmethod
    def _both_or_neither(cls, document: Any) -> Any:
        if isinstance(document, Mapping):
            has = [key for key in ("lookback", "min_true") if document.get(key) is not None]
            if len(has) == 1:
                missing = "min_true" if has[0] == "lookback" else "lookback"
                raise faults_error(
                    [Fault(f".{missing}", f"nothing, with {has[0]} given", "both lookback and min_true")]
                )
        return document

    @model_validator(mode="after")
    def _within_lookback(self) -> "Persistent":
        if self.min_true > self.lookback:
            raise faults_error([Fault(".min_true", str(self.min_true), f"at most lookback, which is {self.lookback}")])
        return self


class Condition(Persistent):
    """A comparison of two operands at the close of a candle."""

    left: LeftOperand
    op: Operator
    right: RightOperand


class ScoreCondition(Persistent):
    """A comparison of what a model says of the call with a number; the same at every candle.

    It is unknown, like a value in warm-up, for a call without a score. `score_conditions` evaluates it.

    Attributes:
        score: Name of the model.
        op: How to compare; a score doesn't move, so it crosses nothing.
        right: What with, finite.
    """

    score: Annotated[str, Text(min_length=1, max_length=200, is_name=True)]
    op: ScoreOperator
    right: Annotated[float, Number()]


def _check_group(members: object) -> object:
    if isinstance(members, list | tuple) and not members:
        raise faults_error([Fault("", "an empty group", "at least one condition or group")])
    return members


class AllOf(Persistent):
    """True when every member is."""

    members: Annotated[tuple["SignalNode", ...], BeforeValidator(_check_group)] = Field(alias="all")


class AnyOf(Persistent):
    """True when at least one member is."""

    members: Annotated[tuple["SignalNode", ...], BeforeValidator(_check_group)] = Field(alias="any")


class Not(Persistent):
    """True when its member is false and no value inside it is NaN."""

    member: "SignalNode" = Field(alias="not")


def _node_tag(value: Any) -> str | None:
    kinds = ((AllOf, "all"), (AnyOf, "any"), (Not, "not"), (ScoreCondition, "score"), (Condition, "condition"))
    for kind, tag in kinds:
        if isinstance(value, kind):
            return f"<{tag}>"
    if not isinstance(value, Mapping):
        return None
    for key in ("all", "any", "not", "score"):
        if key in value:
            return f"<{key}>"
    return "<condition>"


SignalNode = Annotated[
    Annotated[AllOf, Tag("<all>")]
    | Annotated[AnyOf, Tag("<any>")]
    | Annotated[Not, Tag("<not>")]
    | Annotated[ScoreCondition, Tag("<score>")]
    | Annotated[Condition, Tag("<condition>")],
    Discriminator(
        _node_tag,
        custom_error_type="tag",
        custom_error_message=(
            '{"all": [...]}, {"any": [...]}, {"not": ...}, {"left", "op", "right"} or {"score", "op", "right"}'
        ),
    ),
]

AllOf.model_rebuild()
AnyOf.model_rebuild()
Not.model_rebuild()


def walk_leaves(node: SignalNode) -> Iterator[Condition | ScoreCondition]:
    """Yield every condition of a signal tree, also those on scores, from left to right."""
    if isinstance(node, Condition | ScoreCondition):
        yield node
    elif isinstance(node, Not):
        yield from walk_leaves(node.member)
    else:
        for member in node.members:
            yield from walk_leaves(member)


def walk_conditions(node: SignalNode) -> Iterator[Condition]:
    """Yield every condition of a signal tree on candles and indicators, from left to right."""
    return (leaf for leaf in walk_leaves(node) if isinstance(leaf, Condition))


def walk_score_conditions(node: SignalNode) -> Iterator[ScoreCondition]:
    """Yield every condition of a signal tree on scores, from left to right."""
    return (leaf for leaf in walk_leaves(node) if isinstance(leaf, ScoreCondition))


def walk_indicators(node: SignalNode) -> Iterator[IndicatorOperand]:
    """Yield every indicator operand of a signal tree, from left to right."""
    for condition in walk_conditions(node):
        for operand in (condition.left, condition.right):
            if isinstance(operand, IndicatorOperand):
                yield operand
