"""Search space documents: what is read, what is refused and how, and what a trial's document becomes."""

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

import pytest

from quantbot_pipeline.errors import SearchSpaceError, StrategyError
from quantbot_pipeline.optimization.spaces import (
    SearchSpace,
    apply_parameters,
    default_search_space,
    parameter_values,
    parse_search_space,
)
from quantbot_pipeline.strategy.model import canonical_json, parse_strategy
from quantbot_pipeline.strategy.presets import preset_names

TEMPLATE: dict[str, Any] = {
    "name": "template",
    "version": "1",
    "entry": {"type": "immediate"},
    "exits": {
        "targets": [{"multiple": 2.0, "size": 0.5}, {"multiple": 3.0, "size": 0.3}],
        "stop_loss": {"initial": 0.3},
    },
    "horizon_seconds": 86400,
}


def parse(*parameters: Any) -> SearchSpace:
    return parse_search_space({"parameters": list(parameters)}, template=TEMPLATE)


def refusal(*parameters: Any) -> str:
    with pytest.raises(SearchSpaceError) as refused:
        parse(*parameters)
    return str(refused.value)


def preset_document(name: str) -> dict[str, Any]:
    file = resources.files("quantbot_pipeline.strategy") / "presets" / f"{name}.json"
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return document


def test_space_of_all_kinds_is_read_and_written_back() -> None:
    space = parse(
        {"path": "exits.targets[0].multiple", "type": "float", "low": 1.2, "high": 2.9, "log": True},
        {"path": "horizon_seconds", "type": "int", "low": 3600, "high": 86400, "step": 3600},
        {"path": "exits.stop_loss.initial", "type": "categorical", "choices": [0.2, 0.3, None]},
    )

    assert [parameter.type for parameter in space.parameters] == ["float", "int", "categorical"]
    assert parse_search_space(space.document(), template=TEMPLATE) == space
    assert json.loads(json.dumps(space.document())) == space.document()


def test_field_that_the_template_leaves_out_can_vary() -> None:
    space = parse(
        {"path": "exits.trailing.activate_at", "type": "float", "low": 0.5, "high": 1.0},
        {"path": "exits.trailing.distance", "type": "float", "low": 0.1, "high": 0.3},
    )

    assert len(space.parameters) == 2


def test_whole_section_can_be_a_choice() -> None:
    dip = {"type": "dip", "drop": 0.3, "max_wait_seconds": 3600, "on_timeout": "skip"}

    space = parse({"path": "entry", "type": "categorical", "choices": [{"type": "immediate"}, dip]})

    assert apply_parameters(TEMPLATE, {"entry": dip})["entry"] == dip
    assert space.document()["parameters"][0]["choices"][1] == dip


def test_template_without_a_name_as_stores_keep_it_is_taken() -> None:
    canonical = json.loads(canonical_json(parse_strategy(TEMPLATE)))

    space = parse_search_space(default_search_space(canonical), template=canonical)

    assert "name" not in canonical
    assert len(space.parameters) == 3


def test_applying_parameters_leaves_template_and_identity_alone() -> None:
    before = json.dumps(TEMPLATE)

    document = apply_parameters(TEMPLATE, {"exits.targets[1].multiple": 4.0, "exits.stop_loss.initial": None})

    assert json.dumps(TEMPLATE) == before
    assert document["exits"] == {
        "targets": [{"multiple": 2.0, "size": 0.5}, {"multiple": 4.0, "size": 0.3}],
        "stop_loss": None,
    }
    assert (document["name"], document["version"]) == ("template", "1")
    assert parse_strategy(document).exits.stop_loss is None


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ({"path": "exits.stop_losss.initial", "type": "float", "low": 0.1, "high": 0.2}, "exits.stop_losss"),
        ({"path": "exits.targets[7].size", "type": "float", "low": 0.1, "high": 0.2}, "no item \\[7\\]"),
        (
            {"path": "exits.stop_loss.initial", "type": "float", "low": 0.3, "high": 0.3},
            "allowed is low < high",
        ),
        ({"path": "exits.stop_loss.initial", "type": "float", "low": 2.0, "high": 3.0}, "none of 200 comb"),
        (
            {"path": "exits.stop_loss.initial", "type": "categorical", "choices": [0.2, 2]},
            "the choice 2 gives",
        ),
        ({"path": "exits.stop_loss.initial", "type": "categorical", "choices": [0.2, 0.2]}, "more than once"),
        ({"path": "exits.stop_loss.initial", "type": "categorical", "choices": []}, "at least one item"),
        ({"path": "horizon_seconds", "type": "int", "low": 0, "high": 9, "log": True}, "allowed is low > 0"),
        (
            {"path": "horizon_seconds", "type": "int", "low": 1.5, "high": 9},
            "low: found 1.5; allowed is a valid int",
        ),
        ({"path": "horizon_seconds", "type": "int", "low": True, "high": 9}, "low: found True"),
        ({"path": "exits.stop_loss.initial", "type": "float", "low": "0.1", "high": 0.2}, "low: found '0.1'"),
        ({"path": "exits.stop_loss.initial", "type": "float", "low": float("nan"), "high": 1}, "found nan"),
        ({"path": "exits.stop_loss.initial", "type": "float", "low": 0.1}, "high: found nothing"),
        (
            {"path": "x", "type": "float", "low": 0.1, "high": 0.2, "hihg": 1},
            "hihg: found an unknown key; allowed are",
        ),
        ({"path": "x", "type": "gauss"}, "type: found 'gauss'; allowed are float, int, categorical"),
        ({"path": "x", "type": "float", "low": 0.0, "high": 1.0, "step": 1e-9}, "allowed is a larger step"),
        ({"path": "name", "type": "categorical", "choices": ["a"]}, "part of the strategy's identity"),
        (7, "found 7"),
    ],
)
def test_parameter_that_can_not_be_used_is_refused_with_path_and_allowed_values(parameter: Any, message: str) -> None:
    with pytest.raises(SearchSpaceError, match=message):
        parse(parameter)


@pytest.mark.parametrize("document", [{}, {"parameters": [], "x": 1}, {"parameters": []}, [], {"parameters": {1}}])
def test_document_of_another_shape_is_refused(document: Any) -> None:
    with pytest.raises(SearchSpaceError, match=r"space\.json"):
        parse_search_space(document, template=TEMPLATE, source="space.json")


def test_all_faults_are_listed_at_once() -> None:
    message = refusal(
        {"path": "exits.targets[7].size", "type": "float", "low": 0.1, "high": 0.2},
        {"path": "exits.stop_loss.initial", "type": "float", "low": 0.5, "high": 0.2},
    )

    assert message.startswith("search space has 2 faults:")
    assert "exits.targets[7].size" in message
    assert "exits.stop_loss.initial: found low 0.5 and high 0.2" in message


def test_two_parameters_for_one_field_are_refused() -> None:
    whole = {"path": "exits.stop_loss", "type": "categorical", "choices": [None]}
    part = {"path": "exits.stop_loss.initial", "type": "float", "low": 0.1, "high": 0.2}

    assert "set the same field" in refusal(whole, part)
    assert "set the same field" in refusal(part, part)


def test_template_that_is_no_strategy_is_refused_as_a_strategy() -> None:
    with pytest.raises(StrategyError, match="horizon_seconds"):
        parse_search_space({"parameters": []}, template=TEMPLATE | {"horizon_seconds": -1})


@pytest.mark.parametrize("name", preset_names())
def test_default_space_of_every_preset_is_valid_at_all_its_corners(name: str) -> None:
    template = preset_document(name)

    space = parse_search_space(default_search_space(template), template=template)

    corners: list[Mapping[str, Any]] = [
        {parameter.path: parameter.low for parameter in space.parameters if parameter.type != "categorical"},
        {parameter.path: parameter.high for parameter in space.parameters if parameter.type != "categorical"},
        {
            parameter.path: parameter.low if "targets[1]" in parameter.path else parameter.high
            for parameter in space.parameters
            if parameter.type != "categorical"
        },
    ]
    for corner in corners:
        parse_strategy(apply_parameters(template, corner))


def test_default_space_of_conservative_24h_varies_targets_stop_and_trailing() -> None:
    # Borders halfway on a logarithmic scale: sqrt(2 * 3) = 2.449, sqrt(3 * 5) = 3.873; the lower one is
    # half the way from 1x to 2x.
    space = default_search_space(preset_document("conservative-24h"))

    assert [(p["path"], p["low"], p["high"]) for p in space["parameters"]] == [
        ("exits.targets[0].multiple", 1.5, 2.45),
        ("exits.targets[1].multiple", 2.46, 3.87),
        ("exits.stop_loss.initial", 0.1, 0.6),
        ("exits.trailing.distance", 0.05, 0.5),
    ]


def test_strategy_without_anything_to_vary_has_no_default_space() -> None:
    with pytest.raises(SearchSpaceError, match="'bare' has no targets"):
        default_search_space({"name": "bare", "entry": {"type": "immediate"}})


def test_values_of_a_step_reach_the_upper_end() -> None:
    # 0.1 + 2 * 0.1 is 0.30000000000000004 in floats: the last value must be there, and be 0.3.
    stop, horizon = parse(
        {"path": "exits.stop_loss.initial", "type": "float", "low": 0.1, "high": 0.3, "step": 0.1},
        {"path": "horizon_seconds", "type": "int", "low": 60, "high": 200, "step": 60},
    ).parameters

    assert parameter_values(stop) == [0.1, 0.2, 0.3]
    assert parameter_values(horizon) == [60, 120, 180]
