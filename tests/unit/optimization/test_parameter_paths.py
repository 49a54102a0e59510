"""Paths into strategy documents."""

from typing import Any

import pytest

from quantbot_pipeline.errors import SearchSpaceError
from quantbot_pipeline.optimization.parameter_paths import parse_path, set_at_path


def test_path_is_read_as_names_and_positions() -> None:
    assert parse_path("exits.targets[0].multiple") == ("exits", "targets", 0, "multiple")
    assert parse_path("horizon_seconds") == ("horizon_seconds",)


@pytest.mark.parametrize("path", ["", ".", "a..b", "a.", "[0]", "a[x]", "a[-1]", "a b", "a[0]b", "é"])
def test_text_that_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(SearchSpaceError, match="can't be read"):
        parse_path(path)


def test_null_removes_the_field_and_switches_an_emptied_section_off() -> None:
    document: dict[str, Any] = {"exits": {"stop_loss": {"initial": 0.3}, "trailing": {"a": 1, "b": 2}}}

    set_at_path(document, "exits.stop_loss.initial", None)
    set_at_path(document, "exits.trailing.a", None)

    assert document == {"exits": {"stop_loss": None, "trailing": {"b": 2}}}


def test_sections_that_are_missing_or_null_are_made() -> None:
    document: dict[str, Any] = {"exits": {"stop_loss": None}}

    set_at_path(document, "exits.stop_loss.initial", 0.2)
    set_at_path(document, "costs.slippage.fraction", 0.001)

    assert document == {"exits": {"stop_loss": {"initial": 0.2}}, "costs": {"slippage": {"fraction": 0.001}}}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "exits.targets[2].size",
            r"'exits.targets' of the template has 1 item\(s\).*allowed are \[0\] to \[0\]",
        ),
        ("exits.targets.size", "'exits.targets' of the template is a list, so it has no field 'size'"),
        ("horizon_seconds.x", "'horizon_seconds' of the template is 60, so it has no field 'x'"),
        ("legs[0]", "'legs' of the template is null, not a list"),
    ],
)
def test_path_that_does_not_fit_the_document_is_refused_where_it_ends(path: str, message: str) -> None:
    document: dict[str, Any] = {"exits": {"targets": [{"size": 1}]}, "horizon_seconds": 60}

    with pytest.raises(SearchSpaceError, match=message):
        set_at_path(document, path, 1)
