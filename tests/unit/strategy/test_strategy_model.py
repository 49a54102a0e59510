"""What a strategy document may say, and what every refusal tells."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from quantbot_pipeline.errors import StrategyError
from quantbot_pipeline.strategy.model import (
    Dip,
    Immediate,
    Ladder,
    Rebound,
    SignalEntry,
    canonical_json,
    config_hash,
    load_strategy,
    parse_strategy,
)

ABOVE = {"left": {"candle": "close"}, "op": ">", "right": 1}


def document(**more: Any) -> dict[str, Any]:
    return {"name": "case", "entry": {"type": "immediate"}, **more}


def refusal(given: Any) -> str:
    with pytest.raises(StrategyError) as refused:
        parse_strategy(given)
    return str(refused.value)


def signal(condition: Any) -> dict[str, Any]:
    return document(exits={"when": condition})


def ladder(*legs: dict[str, Any]) -> dict[str, Any]:
    return document(entry={"type": "ladder", "legs": list(legs)})


def rsi(**more: Any) -> dict[str, Any]:
    return signal({"left": {"indicator": "rsi", "params": {"period": 14}, **more}, "op": "<", "right": 30})


def scored(**more: Any) -> dict[str, Any]:
    return document(exits={"when": {"any": [{"score": "skill", "op": ">", "right": 0.6, **more}]}})


def test_everything_left_out_takes_its_default() -> None:
    strategy = parse_strategy(document())
    assert isinstance(strategy.entry, Immediate)
    assert (strategy.horizon_seconds, strategy.max_staleness_seconds) == (604_800, 86_400)
    assert (strategy.intrabar, strategy.overlap, strategy.scale_in_size) == (
        "pessimistic",
        "independent",
        0.5,
    )
    assert (strategy.exits.targets, strategy.exits.on_exit_call) == ((), False)
    assert strategy.exits.scale_out_size == 0.5
    assert strategy.re_entry is None
    assert (strategy.costs.fee, strategy.costs.latency_seconds) == (0, 0)


def test_null_is_the_same_as_left_out() -> None:
    nulls = dict.fromkeys(("exits", "re_entry", "costs", "horizon_seconds", "overlap", "description"))
    assert parse_strategy(document(**nulls)) == parse_strategy(document())
    exits = dict.fromkeys(("targets", "stop_loss", "break_even", "trailing", "when", "max_hold_seconds"))
    assert parse_strategy(document(exits=exits)) == parse_strategy(document())
    leg = {"id": "a", "size": 1, "offset": -0.1, "when": None}
    assert isinstance(parse_strategy(ladder(leg)).entry, Ladder)


def test_every_entry_has_its_type_and_defaults() -> None:
    kinds = {
        Dip: {"type": "dip", "drop": 0.3},
        Rebound: {"type": "rebound", "rebound": 0.1},
        SignalEntry: {"type": "signal", "when": ABOVE},
        Ladder: {"type": "ladder", "legs": [{"id": "a", "size": 1, "offset": 0}]},
    }
    for kind, entry in kinds.items():
        parsed = parse_strategy(document(entry=entry)).entry
        assert isinstance(parsed, kind)
        assert parsed.max_wait_seconds == 3600  # type: ignore[attr-defined]


def test_the_full_example_of_the_documentation_is_accepted() -> None:
    parsed = parse_strategy(
        {
            "name": "conservative-24h",
            "version": "1",
            "category": "ladder",
            "description": "...",
            "entry": {"type": "immediate"},
            "exits": {
                "targets": [
                    {"multiple": 2.0, "size": 0.5},
                    {"multiple": 3.0, "size": 0.3},
                    {"multiple": 5.0, "size": 0.2},
                ],
                "stop_loss": {"initial": 0.3},
                "break_even": {"gain": 0.5, "offset": 0.0},
                "trailing": {"activate_at": 1.0, "distance": 0.2},
                "when": {
                    "any": [
                        {
                            "left": {"indicator": "rsi", "params": {"period": 14}},
                            "op": "crosses_below",
                            "right": 70,
                        }
                    ]
                },
                "max_hold_seconds": 86400,
                "on_exit_call": False,
            },
            "re_entry": {
                "after": ["stop", "trailing"],
                "retrace": 0.5,
                "size": 0.5,
                "max_count": 1,
                "max_wait_seconds": 86400,
            },
            "costs": {"fee": 0.003, "slippage": {"type": "fixed", "fraction": 0.001}, "latency_seconds": 0},
            "horizon_seconds": 604800,
            "max_staleness_seconds": 86400,
            "intrabar": "pessimistic",
            "overlap": "independent",
        }
    )
    assert [target.multiple for target in parsed.exits.targets] == [2, 3, 5]
    assert list(parsed.indicators()) == ["rsi(period=14)"]


def test_a_strategy_can_not_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        parse_strategy(document()).horizon_seconds = 5  # type: ignore[misc]


def test_sizes_may_sum_to_one_within_rounding() -> None:
    tenths = [{"multiple": 1.1 + k / 10, "size": 0.1} for k in range(10)]
    assert len(parse_strategy(document(exits={"targets": tenths})).exits.targets) == 10


@pytest.mark.parametrize(
    ("given", "path", "found", "allowed"),
    [
        (document(color="red"), "color", "an unknown key", "name, version, category"),
        (document(exits={"stop": 0.3}), "exits.stop", "an unknown key", "targets, stop_loss"),
        (
            document(entry={"type": "dip", "drop": 0.3, "legs": []}),
            "entry.legs",
            "an unknown key",
            "type, drop, max_wait_seconds, on_timeout",
        ),
        (document(entry={"type": "dip", "drop": 0}), "entry.drop", "0", "> 0 and < 1"),
        (document(entry={"type": "dip", "drop": 1}), "entry.drop", "1", "> 0 and < 1"),
        (document(entry={"type": "dip", "drop": float("nan")}), "entry.drop", "nan", "> 0 and < 1"),
        (document(entry={"type": "dip", "drop": "0.3"}), "entry.drop", "'0.3'", "a number"),
        (document(entry={"type": "dip", "drop": True}), "entry.drop", "True", "a number"),
        (document(entry={"type": "dip"}), "entry.drop", "nothing", "a number > 0 and < 1"),
        (document(entry={"type": "rebound", "rebound": float("inf")}), "entry.rebound", "inf", "> 0"),
        (document(entry={"type": "rebound", "rebound": 10**400}), "entry.rebound", "1000", "> 0"),
        (document(entry={"type": "dips"}), "entry.type", "'dips'", "immediate, dip, rebound"),
        (document(entry={}), "entry.type", "nothing", "immediate, dip, rebound"),
        (document(entry=[]), "entry", "[]", "immediate, dip, rebound"),
        ({"name": "x"}, "entry", "nothing", "a value"),
        ({"entry": {"type": "immediate"}}, "name", "nothing", "a text of 1 to 200"),
        (document(name=""), "name", "''", "a text of 1 to 200"),
        (
            document(entry={"type": "dip", "drop": 0.3, "max_wait_seconds": -1}),
            "entry.max_wait_seconds",
            "-1",
            "a whole number >= 0",
        ),
        (
            document(entry={"type": "dip", "drop": 0.3, "on_timeout": "wait"}),
            "entry.on_timeout",
            "'wait'",
            "'skip' or 'market'",
        ),
        (document(horizon_seconds=0), "horizon_seconds", "0", ">= 1"),
        (document(horizon_seconds=1.5), "horizon_seconds", "1.5", "a whole number"),
        (document(horizon_seconds=10**300), "horizon_seconds", "1000", "a whole number"),
        (document(overlap="stack"), "overlap", "'stack'", "'independent', 'skip' or 'scale_in'"),
        (document(scale_in_size=1.5), "scale_in_size", "1.5", "<= 1"),
        (document(exits={"stop_loss": {"initial": 1.0}}), "exits.stop_loss.initial", "1.0", "< 1"),
        (document(exits={"stop_loss": 0.3}), "exits.stop_loss", "0.3", "an object"),
        (
            document(exits={"trailing": {"activate_at": 0, "distance": 0}}),
            "exits.trailing.distance",
            "0",
            "> 0 and < 1",
        ),
        (
            document(exits={"targets": [{"multiple": 1.0, "size": 1}]}),
            "exits.targets[0].multiple",
            "1.0",
            "> 1",
        ),
        (
            document(exits={"targets": [{"multiple": 3, "size": 0.1}, {"multiple": 3, "size": 0.1}]}),
            "exits.targets[1].multiple",
            "3.0",
            "more than the multiple before, which is 3.0",
        ),
        (
            document(
                exits={
                    "targets": [
                        {"multiple": 2, "size": 0.5},
                        {"multiple": 3, "size": 0.3},
                        {"multiple": 5, "size": 0.21},
                    ]
                }
            ),
            "exits.targets[2].size",
            "0.21, which brings the sum of sizes to 1.01",
            "sizes that sum to at most 1",
        ),
        (
            document(exits={"targets": [{"multiple": 2, "size": 0}]}),
            "exits.targets[0].size",
            "0",
            ">= 1e-12",
        ),
        (document(exits={"targets": {}}), "exits.targets", "{}", "a list"),
        (
            document(exits={"break_even": {"after_target": 1}}),
            "exits.break_even.after_target",
            "1",
            "there are no targets",
        ),
        (
            document(exits={"targets": [{"multiple": 2, "size": 1}], "break_even": {"after_target": 2}}),
            "exits.break_even.after_target",
            "2",
            "1 to 1",
        ),
        (document(exits={"break_even": {}}), "exits.break_even", "neither", "exactly one"),
        (
            document(exits={"break_even": {"gain": 1, "after_target": 1}}),
            "exits.break_even",
            "both",
            "exactly one",
        ),
        (document(exits={"on_exit_call": "yes"}), "exits.on_exit_call", "'yes'", "true or false"),
        (
            document(re_entry={"after": ["stop", "gain"], "retrace": 0.5, "size": 1}),
            "re_entry.after[1]",
            "'gain'",
            "'target'",
        ),
        (document(re_entry={"after": [], "retrace": 0.5, "size": 1}), "re_entry.after", "empty", "at least one"),
        (
            document(re_entry={"after": ["stop", "stop"], "retrace": 0.5, "size": 1}),
            "re_entry.after",
            "['stop', 'stop']",
            "each reason once",
        ),
        (
            document(re_entry={"after": ["stop"], "retrace": 1.5, "size": 1}),
            "re_entry.retrace",
            "1.5",
            "> 0 and < 1",
        ),
        (
            document(re_entry={"after": ["stop"], "retrace": 0.5, "size": 1, "max_count": 0}),
            "re_entry.max_count",
            "0",
            ">= 1",
        ),
        (document(costs={"fee": 1}), "costs.fee", "1", "< 1"),
        (document(costs={"slippage": 0.1}), "costs.slippage", "0.1", "fixed, volume_share"),
        (
            document(costs={"slippage": {"type": "volume_share", "base": 0, "impact": 1, "cap": 0.1}}),
            "costs.slippage.capital_quote",
            "nothing",
            "a number > 0",
        ),
        (ladder(), "entry.legs", "an empty list", "at least one leg"),
        (ladder({"id": "a", "size": 1}), "entry.legs[0]", "neither", "exactly one of offset and when"),
        (
            ladder({"id": "a", "size": 1, "offset": 0, "when": ABOVE}),
            "entry.legs[0]",
            "both",
            "exactly one of offset and when",
        ),
        (ladder({"id": "a", "size": 1, "offset": 0.1}), "entry.legs[0].offset", "0.1", "<= 0"),
        (
            ladder({"id": "a", "size": 0.1, "offset": 0}, {"id": "a", "size": 0.1, "offset": 0}),
            "entry.legs[1].id",
            "'a' again",
            "no other leg has",
        ),
        (
            ladder({"id": "a", "size": 0.6, "offset": 0}, {"id": "b", "size": 0.6, "offset": 0}),
            "entry.legs[1].size",
            "1.2",
            "at most 1",
        ),
        (signal({"all": []}), "exits.when.all", "an empty group", "at least one"),
        (signal({"any": [{"all": []}]}), "exits.when.any[0].all", "an empty group", "at least one"),
        (signal({"not": {"any": []}}), "exits.when.not.any", "an empty group", "at least one"),
        (signal([]), "exits.when", "[]", '{"all": [...]}'),
        (signal({"left": {"candle": "hl2"}, "op": ">", "right": 1}), "exits.when.left.candle", "'hl2'", "'open'"),
        (signal({**ABOVE, "left": 5}), "exits.when.left", "5", '{"indicator"'),
        (signal({**ABOVE, "right": True}), "exits.when.right", "True", "a finite number"),
        (signal({**ABOVE, "op": "above"}), "exits.when.op", "'above'", "'crosses_above'"),
        (signal({**ABOVE, "lookback": 2, "min_true": 3}), "exits.when.min_true", "3", "at most lookback"),
        (signal({**ABOVE, "lookback": 2}), "exits.when.min_true", "nothing", "both"),
        (signal({**ABOVE, "any": []}), "exits.when.left", "an unknown key", "any"),
        (rsi(indicator="rsii"), "exits.when.left.indicator", "'rsii'", "one of sma, ema"),
        (rsi(params={"period": 0}), "exits.when.left.params.period", "0", ">= 1"),
        (rsi(params={}), "exits.when.left.params.period", "nothing", "a whole number"),
        (rsi(params={"period": 3, "k": 1}), "exits.when.left.params.k", "unknown", "for rsi: period"),
        (rsi(params=3), "exits.when.left.params", "3", "an object of period"),
        (rsi(field="line"), "exits.when.left.field", "'line'", "for rsi: value"),
        (rsi(shift=-1), "exits.when.left.shift", "-1", ">= 0"),
        (
            rsi(indicator="macd", params={"fast": 9, "slow": 9, "signal": 3}, field="line"),
            "exits.when.left.params.fast",
            "9",
            "less than slow",
        ),
        (
            rsi(indicator="macd", params={"fast": 3, "slow": 9, "signal": 3}),
            "exits.when.left.field",
            "nothing",
            "line, signal, histogram",
        ),
        (scored(right="0.6"), "exits.when.any[0].right", "'0.6'", "a finite number"),
        (scored(right=float("nan")), "exits.when.any[0].right", "nan", "a finite number"),
        (scored(right=float("inf")), "exits.when.any[0].right", "inf", "a finite number"),
        (scored(right={"candle": "close"}), "exits.when.any[0].right", "'candle'", "a finite number"),
        (scored(op="crosses_above"), "exits.when.any[0].op", "'crosses_above'", "'>', '>='"),
        (scored(score=""), "exits.when.any[0].score", "''", "a text of 1 to 200"),
        (scored(score=7), "exits.when.any[0].score", "7", "a text of 1 to 200"),
        (scored(left={"candle": "close"}), "exits.when.any[0].left", "an unknown key", "score, op, right"),
        (scored(lookback=3), "exits.when.any[0].min_true", "nothing", "both lookback and min_true"),
        (
            document(exits={"when": {"score": "skill", "op": ">"}}),
            "exits.when.right",
            "nothing (it is required)",
            "a finite number",
        ),
        (document(exits={"when": 1}), "exits.when", "1", '{"score", "op", "right"}'),
    ],
)
def test_refusal_names_path_found_and_allowed(given: Any, path: str, found: str, allowed: str) -> None:
    message = refusal(given)
    lines = [line for line in message.splitlines() if re.search(rf"(^|: |  ){re.escape(path)}: found ", line)]
    assert lines, message
    assert any(found in line and allowed in line for line in lines), message


def test_every_fault_has_its_line() -> None:
    message = refusal(
        document(
            entry={"type": "dip", "drop": 2},
            exits={"targets": [{"multiple": 0.5, "size": 2}], "stop_loss": {"initial": 7}},
            surprise=1,
        )
    )
    head, *lines = message.splitlines()
    assert head == "strategy: 5 faults, the first at entry.drop"
    assert [line.split(":")[0].strip() for line in lines] == [
        "entry.drop",
        "exits.targets[0].multiple",
        "exits.targets[0].size",
        "exits.stop_loss.initial",
        "surprise",
    ]


def test_a_document_that_is_no_object_is_refused() -> None:
    assert refusal([1]) == "strategy: found [1], allowed is an object"


def test_signals_nest_deep_but_not_without_end() -> None:
    node: dict[str, Any] = ABOVE
    for _ in range(60):
        node = {"all": [node]}
    parse_strategy(signal(node))
    for _ in range(5000):
        node = {"not": node}
    assert "nested deeper" in refusal(signal(node))


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.json"
    path.write_text(text, encoding="utf-8")
    return path


def test_strategy_file_is_read(tmp_path: Path) -> None:
    assert load_strategy(write(tmp_path, json.dumps(document()))).name == "case"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"name": "x",\n "entry": }', "line 2, column 11: not JSON"),
        ('{"name": "x",\n "name": "y"}', "the key 'name' twice"),
        ('{"name": "NaN",\n "costs": {"fee": NaN}}', "line 2, column 19: found NaN"),
        ('{"costs": {"fee": -Infinity}}', "line 1, column 19: found -Infinity"),
        ("[]", "found [], allowed is an object"),
        ("", "line 1, column 1: not JSON"),
        ("[" * 100_000, "nested too deep"),
        ('{"name": "x", "entry": {"type": "dip", "drop": 1e999}}', "entry.drop: found inf"),
    ],
)
def test_a_file_that_is_no_strategy_is_refused_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(StrategyError) as refused:
        load_strategy(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert told in str(refused.value)


def test_a_missing_or_unreadable_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StrategyError, match="can't be read"):
        load_strategy(tmp_path / "none.json")
    binary = tmp_path / "binary.json"
    binary.write_bytes(b'{"name": "\xff"}')
    with pytest.raises(StrategyError, match="byte 10 is not UTF-8"):
        load_strategy(binary)


def test_configs_that_mean_the_same_have_the_same_hash() -> None:
    spare = {"name": "a", "entry": {"type": "dip", "drop": 0.5}, "exits": {"when": ABOVE}}
    full = {
        "overlap": "independent",
        "description": "other words",
        "version": "7",
        "name": "b",
        "costs": {"fee": 0.0, "latency_seconds": 0.0, "slippage": {"fraction": 0, "type": "fixed"}},
        "exits": {
            "scale_out_size": 0.5,
            "when": {
                "right": 1.0,
                "op": ">",
                "left": {"shift": 0, "candle": "close"},
                "lookback": 1,
                "min_true": 1.0,
            },
        },
        "entry": {"drop": 0.5, "type": "dip", "on_timeout": "skip", "max_wait_seconds": 3600.0},
        "horizon_seconds": 604800.0,
        "re_entry": None,
    }
    assert canonical_json(parse_strategy(spare)) == canonical_json(parse_strategy(full))
    assert config_hash(parse_strategy(spare)) == config_hash(parse_strategy(full))


def test_order_of_re_entry_reasons_and_indicator_defaults_do_not_matter() -> None:
    left = {"indicator": "ichimoku", "field": "kijun"}
    full = {**left, "params": {"base": 26, "span": 52.0, "conversion": 9, "displacement": 26}}
    hashes = {
        config_hash(
            parse_strategy(
                document(
                    re_entry={"after": after, "retrace": 0.5, "size": 1},
                    exits={"when": {**ABOVE, "left": operand}},
                )
            )
        )
        for after in (["stop", "time"], ["time", "stop"])
        for operand in (left, full)
    }
    assert len(hashes) == 1


def test_configs_that_differ_have_different_hashes() -> None:
    hashes = {
        config_hash(parse_strategy(document(**more)))
        for more in (
            {},
            {"horizon_seconds": 604_801},
            {"intrabar": "optimistic"},
            {"exits": {"stop_loss": {"initial": 0.1}}},
            {"exits": {"stop_loss": {"initial": 0.1 + 1e-17 + 2**-56}}},
            {"costs": {"fee": 1e-300}},
            {"exits": {"when": {"score": "skill", "op": ">", "right": 0.6}}},
            {"exits": {"when": {"score": "skill", "op": ">=", "right": 0.6}}},
            {"exits": {"when": {"score": "skill", "op": ">", "right": 0.7}}},
            {"exits": {"when": {"score": "luck", "op": ">", "right": 0.6}}},
        )
    }
    assert len(hashes) == 10


def test_canonical_json_is_pinned() -> None:
    """A change here changes the key of every stored run."""
    assert canonical_json(parse_strategy(document())) == (
        '{"costs":{"fee":0.0,"latency_seconds":0,"slippage":{"fraction":0.0,"type":"fixed"}},'
        '"entry":{"type":"immediate"},"exits":{"break_even":null,"max_hold_seconds":null,'
        '"on_exit_call":false,"scale_out_size":0.5,"stop_loss":null,"targets":[],"trailing":null,"when":null},'
        '"horizon_seconds":604800,"intrabar":"pessimistic","max_staleness_seconds":86400,'
        '"overlap":"independent","re_entry":null,"scale_in_size":0.5}'
    )
    assert config_hash(parse_strategy(document())) == (
        "780f2e7bfb2e49b235c42fc5caaae912fc0b8de53a9d36fa21e692c3fe9175ae"
    )


def test_words_in_a_file_that_is_not_json_are_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("# A strategy\n\nNaN and Infinity are refused.\n", encoding="utf-8")
    with pytest.raises(StrategyError, match="line 1, column 1: not JSON"):
        load_strategy(path)
