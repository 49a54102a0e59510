"""The presets that ship, and the JSON Schema that is published."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from quantbot_pipeline.errors import StrategyError
from quantbot_pipeline.strategy import presets as presets_module
from quantbot_pipeline.strategy.model import parse_strategy, strategy_json_schema
from quantbot_pipeline.strategy.presets import load_preset, preset_names

ROOT = Path(__file__).parents[3]
PRESET_FOLDER = Path(presets_module.__file__).parent / "presets"
PUBLISHED = ROOT / "docs" / "strategy.schema.json"


def conforms(value: Any, schema: Any, root: dict[str, Any]) -> bool:
    """Check a value against the part of JSON Schema 2020-12 that the published schema uses.

    A keyword it does not know fails the test, so that nothing passes unchecked.
    """
    annotations = {"title", "description", "default", "$defs", "$schema"}
    types = {
        "object": lambda v: isinstance(v, dict),
        "array": lambda v: isinstance(v, list),
        "string": lambda v: isinstance(v, str),
        "boolean": lambda v: isinstance(v, bool),
        "null": lambda v: v is None,
        "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
        "integer": lambda v: isinstance(v, int | float) and not isinstance(v, bool) and v == int(v),
    }
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    checks = {
        "$ref": lambda ref: conforms(value, root["$defs"][ref.removeprefix("#/$defs/")], root),
        "type": lambda name: types[name](value),
        "const": lambda only: value == only,
        "enum": lambda allowed: value in allowed,
        "oneOf": lambda parts: sum(conforms(value, part, root) for part in parts) == 1,
        "anyOf": lambda parts: any(conforms(value, part, root) for part in parts),
        "minimum": lambda bound: not is_number or value >= bound,
        "maximum": lambda bound: not is_number or value <= bound,
        "exclusiveMinimum": lambda bound: not is_number or value > bound,
        "exclusiveMaximum": lambda bound: not is_number or value < bound,
        "minLength": lambda bound: not isinstance(value, str) or len(value) >= bound,
        "maxLength": lambda bound: not isinstance(value, str) or len(value) <= bound,
        "pattern": lambda pattern: not isinstance(value, str) or re.search(pattern, value) is not None,
        "items": lambda part: not isinstance(value, list) or all(conforms(v, part, root) for v in value),
        "required": lambda keys: not isinstance(value, dict) or set(keys) <= value.keys(),
        "properties": lambda parts: (
            not isinstance(value, dict) or all(conforms(v, parts.get(k, {}), root) for k, v in value.items())
        ),
        "additionalProperties": lambda more: (
            more is not False or not isinstance(value, dict) or value.keys() <= schema["properties"].keys()
        ),
    }
    return all(checks[keyword](given) for keyword, given in schema.items() if keyword not in annotations)


def test_the_presets_that_users_know_are_there() -> None:
    assert {
        "basic-6h-20pct-sl",
        "conservative-24h",
        "aggressive-multi-tp",
        "trailing-stop-20pct",
        "buy-the-dip-30pct",
    } <= set(preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_bears_its_name_costs_and_description(name: str) -> None:
    preset = load_preset(name)
    assert preset.name == name
    assert preset.costs.fee > 0
    assert preset.description


def test_conservative_24h_is_what_its_name_promises() -> None:
    preset = load_preset("conservative-24h")
    assert [(target.multiple, target.size) for target in preset.exits.targets] == [(2, 0.5), (3, 0.3), (5, 0.2)]
    assert preset.exits.stop_loss is not None
    assert preset.exits.stop_loss.initial == 0.3
    assert preset.exits.trailing is not None
    assert (preset.exits.trailing.activate_at, preset.exits.trailing.distance) == (1.0, 0.2)
    assert preset.horizon_seconds == 86_400


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(StrategyError, match="'nope' does not exist; allowed are aggressive-multi-tp, basic"):
        load_preset("nope")


@pytest.mark.parametrize("name", ["a", "n" * 200, "Überholspur 2.0", "策略", "../x", "🚀 moon"])
def test_names_are_any_visible_text(name: str) -> None:
    document = {"name": name, "entry": {"type": "immediate"}, "exits": {"max_hold_seconds": 60}}
    assert parse_strategy(document).name == name
    assert conforms(document, strategy_json_schema(), strategy_json_schema())


def test_name_that_a_terminal_would_act_on_is_refused_and_shown_escaped() -> None:
    document = {"name": "x\u202e\n", "entry": {"type": "immediate"}}
    with pytest.raises(StrategyError) as refused:
        parse_strategy(document)
    assert "name: found 'x\\u202e\\n', allowed a text of 1 to 200 characters, without control" in str(refused.value)


def test_published_schema_is_current() -> None:
    expected = json.dumps(strategy_json_schema(), indent=2, ensure_ascii=False) + "\n"
    assert PUBLISHED.read_text(encoding="utf-8") == expected, (
        "docs/strategy.schema.json is not what strategy_json_schema() gives; write it anew"
    )


@pytest.mark.parametrize("name", preset_names())
def test_presets_conform_to_the_published_schema(name: str) -> None:
    schema = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    preset = json.loads((PRESET_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert conforms(preset, schema, schema)


SCORED: dict[str, Any] = {
    "name": "scored",
    "entry": {"type": "signal", "when": {"all": [{"score": "skill", "op": ">", "right": 0.6}]}},
}


def test_a_condition_on_a_score_conforms_to_the_published_schema() -> None:
    assert conforms(SCORED, strategy_json_schema(), strategy_json_schema())
    assert parse_strategy(SCORED).score_names() == ("skill",)


@pytest.mark.parametrize(
    ("key", "value"), [("op", "crosses_above"), ("right", "0.6"), ("right", None), ("score", ""), ("left", 1)]
)
def test_schema_and_parser_refuse_the_same_of_a_condition_on_a_score(key: str, value: Any) -> None:
    document = json.loads(json.dumps(SCORED))
    document["entry"]["when"]["all"][0][key] = value
    assert not conforms(document, strategy_json_schema(), strategy_json_schema())
    with pytest.raises(StrategyError):
        parse_strategy(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("entry.type", "dips"),
        ("entry.legs.0.size", 2),
        ("entry.legs.0.size", "1"),
        ("exits.stop_loss.initial", 1),
        ("exits.targets.0.multiple", 1),
        ("exits.when.all.0.op", "above"),
        ("exits.when.all.0.left.indicator", "rsii"),
        ("exits.when.all.0.left.params.period", 0),
        ("exits.when.all.0.left.params.length", 14),
        ("costs.slippage.type", "none"),
        ("horizon_seconds", 0.5),
        ("surprise", 1),
        ("name", "two\nlines"),
        ("name", "turned\u202earound"),
        ("name", "bell\x07"),
        ("name", "lone\ud800"),
        ("name", ""),
        ("name", "n" * 201),
    ],
)
def test_schema_and_parser_refuse_the_same(path: str, value: Any) -> None:
    schema = strategy_json_schema()
    document = json.loads((PRESET_FOLDER / "laddered-dip-with-re-entry.json").read_text(encoding="utf-8"))
    *parents, key = path.split(".")
    node: Any = document
    for part in parents:
        node = node[int(part)] if re.fullmatch(r"\d+", part) else node[part]
    node[key] = value
    assert not conforms(document, schema, schema)
    with pytest.raises(StrategyError):
        parse_strategy(document)
