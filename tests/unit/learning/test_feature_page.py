"""The page of features is the one that the registry makes."""

from pathlib import Path

from quantbot_pipeline.learning.feature_page import feature_page
from quantbot_pipeline.learning.feature_registry import FEATURES

PAGE = Path(__file__).parents[3] / "docs" / "features.md"


def test_page_of_features_is_made_of_the_registry() -> None:
    assert PAGE.read_text(encoding="utf-8") == feature_page(), (
        "run 'quantbot features list --markdown > docs/features.md'"
    )


def test_page_has_one_row_per_feature() -> None:
    lines = feature_page().splitlines()
    assert [line.split("`")[1] for line in lines if line.startswith("| `") and line.count("|") == 6] == [
        feature.name for feature in FEATURES
    ]
