"""Search space documents: what is read, what is refused and how, and what a trial's document becomes."""

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from quantbot_pipeline.errors import SearchSpaceError, StrategyError
from quantbot_pipeline.optimization import spaces
from quantbot_pipeline.optimization.parameters import parameter_values
from quantbot_pipeline.optimization.spaces import (
    SearchSpace,
    apply_parameters,
    default_search_space,
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
        (
            {"path": "exits.stop_loss.initial", "type": "float", "low": 2.0, "high": 3.0},
            "found high 3.0; allowed is a number above 0 and below 1",
        ),
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
        (7, "found 7; allowed is an object"),
        ({"path": "x", "low": 0.1, "high": 0.2}, "type: found nothing; allowed are float, int, categorical"),
        (
            {"path": "exits.max_hold_seconds", "type": "float", "low": 0.5, "high": 9},
            r"found low 0\.5; allowed is a whole number \(type int\) of at least 0\n",
        ),
        (
            {"path": "entry.drop", "type": "float", "low": 0.1, "high": 0.2},
            "'entry' of the template is of type 'immediate', which has no field 'drop'; allowed are type; "
            "or vary 'entry.type' as well, with a condition on it here",
        ),
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


def test_the_space_of_the_manual_fits_its_preset() -> None:
    """It once had a constraint on fields that nothing varied, and was refused."""
    manual = (Path(__file__).parents[3] / "docs" / "optimize.md").read_text()
    document = json.loads(manual.split("```json\n", 1)[1].split("```", 1)[0])

    space = parse_search_space(document, template=preset_document("conservative-24h"))

    assert len(space.parameters) == 7
    assert len(space.constraints) == 1
    # The one where spaces are read is the same.
    text = (spaces.__doc__ or "").split("anything runs:\n", 1)[1].split("\nIt fits", 1)[0]
    assert json.loads(text) == document


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


def test_default_space_of_a_target_just_above_the_entry_stays_above_it() -> None:
    template = {**TEMPLATE, "exits": {"targets": [{"multiple": 1.005, "size": 1.0}]}}

    space = parse_search_space(default_search_space(template), template=template)

    assert [(p.path, p.low, p.high) for p in space.parameters if p.type == "float"] == [
        ("exits.targets[0].multiple", 1.01, 1.51)
    ]


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


ENTRY_TYPE = {"path": "entry.type", "type": "categorical", "choices": ["immediate", "dip"]}
DROP = {"path": "entry.drop", "type": "float", "low": 0.1, "high": 0.5, "when": {"entry.type": "dip"}}
SIZES = [{"path": f"exits.targets[{k}].size", "type": "float", "low": 0.1, "high": 1.0, "step": 0.1} for k in range(2)]


def with_constraints(*parameters: Any, constraints: list[Any]) -> SearchSpace:
    return parse_search_space({"parameters": list(parameters), "constraints": constraints}, template=TEMPLATE)


def test_parameter_with_a_condition_exists_only_where_it_holds() -> None:
    space = parse(ENTRY_TYPE, DROP)

    assert space.from_units([0.9, 0.5]) == {"entry.type": "dip", "entry.drop": 0.1 + 0.5 * (0.5 - 0.1)}
    assert space.from_units([0.1, 0.5]) == {"entry.type": "immediate"}
    assert space.configuration({"entry.type": "immediate"})["entry"] == {"type": "immediate"}
    assert parse_search_space(space.document(), template=TEMPLATE) == space


def test_field_of_an_absent_parameter_is_removed_or_kept() -> None:
    template = TEMPLATE | {"entry": {"type": "dip", "drop": 0.25}}
    parameters = [ENTRY_TYPE, DROP]
    space = parse_search_space({"parameters": parameters}, template=template)
    # The template's drop would be refused beside an immediate entry.
    assert space.strategy({"entry.type": "immediate"}).entry.type == "immediate"

    stop = {"path": "exits.stop_loss.initial", "type": "float", "low": 0.1, "high": 0.5}
    for otherwise, expected in (("remove", None), ("keep", {"initial": 0.3})):
        conditional = stop | {"when": {"entry.type": "dip"}, "otherwise": otherwise}
        space = parse_search_space({"parameters": [ENTRY_TYPE, DROP, conditional]}, template=TEMPLATE)
        assert space.configuration({"entry.type": "immediate"})["exits"]["stop_loss"] == expected


def test_list_items_of_absent_parameters_are_removed_from_the_last_on() -> None:
    third = {"multiple": 9.0, "size": 0.1}
    template = TEMPLATE | {"exits": {"targets": [*TEMPLATE["exits"]["targets"], third]}}
    items = [
        {
            "path": f"exits.targets[{k}]",
            "type": "categorical",
            "choices": [template["exits"]["targets"][k]],
            "when": {"horizon_seconds": 7200},
        }
        for k in (1, 2)
    ]
    horizon = {"path": "horizon_seconds", "type": "categorical", "choices": [3600, 7200]}
    space = parse_search_space({"parameters": [horizon, *items]}, template=template)

    assert space.configuration({"horizon_seconds": 3600})["exits"]["targets"] == TEMPLATE["exits"]["targets"][:1]


def test_field_inside_a_chosen_section_can_vary_with_a_condition_on_it() -> None:
    dip = {"type": "dip", "drop": 0.3}
    entry = {"path": "entry", "type": "categorical", "choices": [{"type": "immediate"}, dip]}
    space = parse(entry, DROP)

    assert space.configuration({"entry": dip, "entry.drop": 0.2})["entry"] == {"type": "dip", "drop": 0.2}
    assert space.configuration({"entry": {"type": "immediate"}})["entry"] == {"type": "immediate"}
    assert "drop" in dip


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ([DROP, ENTRY_TYPE], "entry.drop: found a condition on 'entry.type', which is a parameter further down"),
        ([DROP], "'entry.type', which is no parameter; allowed are parameters listed before it: none"),
        (
            [ENTRY_TYPE, DROP | {"when": {"entry.type": "ladder"}}],
            "on 'entry.type' being 'ladder', which it never is; allowed are 'immediate', 'dip'",
        ),
        (
            [
                {"path": "horizon_seconds", "type": "int", "low": 60, "high": 600, "step": 60},
                ENTRY_TYPE,
                DROP | {"when": {"entry.type": "dip", "horizon_seconds": 90}},
            ],
            "'horizon_seconds' being 90, which it never is; allowed are 60 to 600 in steps of 60",
        ),
        (
            [
                {"path": "exits.stop_loss.initial", "type": "float", "low": 0.1, "high": 0.5},
                {
                    "path": "costs.fee", "type": "float", "low": 0.1, "high": 0.5,
                    "when": {"exits.stop_loss.initial": 0.2},
                },
            ],
            "a float without 'step', which never has one value exactly",
        ),
        ([ENTRY_TYPE, DROP | {"when": {"entry.type": []}}], "found no value for 'entry.type' in its condition"),
        ([ENTRY_TYPE, DROP | {"when": {"entry.type": "immediate"}}], "the first was refused: strategy: entry.drop"),
        ([ENTRY_TYPE], "the choice 'dip' gives no valid strategy: strategy: entry.drop"),
        (
            [
                ENTRY_TYPE,
                DROP,
                {
                    "path": "costs.fee", "type": "float", "low": 0.1, "high": 0.5,
                    "when": {"entry.type": "immediate", "entry.drop": 0.1},
                },
            ],
            "on 'entry.drop', a float without 'step'",
        ),
        ([{"path": "exits.targets[0].mult", "type": "int", "low": 2, "high": 3}], "no field 'mult'; allowed are mul"),
        ([{"path": "overlap", "type": "int", "low": 2, "high": 3}], "no number: it holds string, one of independent"),
        ([{"path": "horizon_seconds", "type": "float", "low": 60.0, "high": 90.0}], "allowed is a whole number"),
        (
            [{"path": "horizon_seconds", "type": "int", "low": 60, "high": 90, "step": 31}],
            "found step 31 over a range of 30",
        ),
    ],
)  # fmt: skip
def test_condition_or_field_that_can_not_be_is_refused(parameters: list[Any], message: str) -> None:
    with pytest.raises(SearchSpaceError) as refused:
        parse(*parameters)
    assert message in str(refused.value)


def test_conditions_that_exclude_each_other_are_refused() -> None:
    never = {"path": "costs.fee", "type": "float", "low": 0.1, "high": 0.5}
    stop = {"path": "exits.stop_loss.initial", "type": "categorical", "choices": [0.1, 0.2]}
    chained = stop | {"when": {"entry.type": "dip"}}
    never |= {"when": {"entry.type": "immediate", "exits.stop_loss.initial": 0.1}}

    assert "costs.fee: none of 200 combinations meets its condition" in refusal(ENTRY_TYPE, DROP, chained, never)


def test_constraints_say_what_they_hold_and_what_was_found() -> None:
    paths = [size["path"] for size in SIZES]
    space = with_constraints(*SIZES, constraints=[{"type": "sum", "paths": paths, "at_most": 0.8, "at_least": 0.5}])

    assert space.broken_constraint({paths[0]: 0.4, paths[1]: 0.4}) is None
    # 0.1 + 0.7 is 0.7999999999999999 and 0.3 + 0.5 is 0.8: rounding must not matter.
    assert space.broken_constraint({paths[0]: 0.1, paths[1]: 0.7}) is None
    assert space.broken_constraint({paths[0]: 0.5, paths[1]: 0.4}) == (
        "found exits.targets[0].size = 0.5, exits.targets[1].size = 0.4; allowed is "
        "0.5 <= exits.targets[0].size + exits.targets[1].size <= 0.8"
    )
    with pytest.raises(SearchSpaceError, match=r"0\.5 <= exits"):
        space.strategy({paths[0]: 0.1, paths[1]: 0.1})


def test_numbers_of_the_template_count_in_constraints() -> None:
    # The second target's size is 0.3 in the template.
    constraint = {"type": "sum", "paths": [SIZES[0]["path"], SIZES[1]["path"]], "at_most": 0.9}
    space = with_constraints(SIZES[0], constraints=[constraint])

    assert space.broken_constraint({str(SIZES[0]["path"]): 0.6}) is None
    assert space.broken_constraint({str(SIZES[0]["path"]): 0.7}) is not None


def test_absent_parameters_are_left_out_of_constraints() -> None:
    stop = {"path": "exits.stop_loss.initial", "type": "float", "low": 0.1, "high": 0.5}
    weights = {"entry.drop": 1.0, "exits.stop_loss.initial": 1.0}
    space = with_constraints(
        ENTRY_TYPE,
        DROP,
        stop,
        constraints=[
            {"type": "linear", "weights": weights, "at_most": 0.6},
            {"type": "less_than", "left": "exits.stop_loss.initial", "right": "entry.drop"},
        ],
    )

    assert space.broken_constraint({"entry.type": "immediate", "exits.stop_loss.initial": 0.5}) is None
    assert space.broken_constraint({"entry.drop": 0.3, "exits.stop_loss.initial": 0.2}) is None
    assert "allowed is entry.drop + exits" in str(
        space.broken_constraint({"entry.drop": 0.45, "exits.stop_loss.initial": 0.2})
    )
    assert "exits.stop_loss.initial < entry.drop" in str(
        space.broken_constraint({"entry.drop": 0.2, "exits.stop_loss.initial": 0.2})
    )


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        ({"type": "sum", "paths": ["exits.targets[0].size"]}, "found neither at_most nor at_least"),
        ({"type": "sum", "paths": ["a.b"], "at_most": 1}, "'a.b', which is no parameter and not in the template"),
        ({"type": "sum", "paths": ["entry.type"], "at_most": 1}, "the choices of 'entry.type' are not all numbers"),
        ({"type": "sum", "paths": ["horizon_seconds"], "at_most": 1}, "found no parameter among horizon_seconds"),
        (
            {"type": "sum", "paths": ["exits.targets[0].size", "exits.targets[1].size"], "at_most": 0.1},
            "nothing within the ranges meets it: found exits.targets[0].size in [0.1, 1]",
        ),
        (
            {"type": "less_than", "left": "exits.targets[0].size", "right": "exits.targets[1].size", "gap": 0.95},
            "nothing within the ranges meets it",
        ),
        ({"type": "less_than", "left": "horizon_seconds", "right": "horizon_seconds"}, "on both sides"),
        ({"type": "product", "paths": []}, "constraints[0].type: found 'product'; allowed are sum, linear, less_than"),
        ({"type": "sum", "path": [], "paths": ["x"], "at_most": 1}, "path: found an unknown key; allowed are type, p"),
    ],
)
def test_constraint_that_can_not_be_used_is_refused(constraint: Any, message: str) -> None:
    with pytest.raises(SearchSpaceError) as refused:
        with_constraints(*SIZES, ENTRY_TYPE, DROP, constraints=[constraint])
    assert message in str(refused.value)


def test_constraints_that_exclude_each_other_are_refused() -> None:
    paths = [size["path"] for size in SIZES]
    constraints = [
        {"type": "less_than", "left": paths[0], "right": paths[1], "gap": 0.2},
        {"type": "less_than", "left": paths[1], "right": paths[0]},
    ]
    with pytest.raises(SearchSpaceError, match="none of 200 combinations of values gives a valid strategy"):
        with_constraints(*SIZES, constraints=constraints)


def test_sizes_that_must_sum_to_one_exactly_are_repaired_onto_their_sum() -> None:
    """Of evenly drawn numbers none meets an equation: all proposals would be one and the same point."""
    sizes = [{"path": size["path"], "type": "float", "low": 0.1, "high": 1.0} for size in SIZES]
    paths = [size["path"] for size in sizes]
    space = with_constraints(*sizes, constraints=[{"type": "sum", "paths": paths, "at_most": 1, "at_least": 1}])

    repaired = [space.repair({paths[0]: 0.1 + k / 10, paths[1]: 0.8}, choice=k) for k in range(8)]

    assert len({each[str(paths[0])] for each in repaired}) > 5
    for params in repaired:
        assert sum(params.values()) == pytest.approx(1, abs=1e-9)
        space.strategy(params)
