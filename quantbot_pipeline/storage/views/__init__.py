"""Views of both databases: read from `dbt_like_views/`, built aside, tested, shown, and described (docs/views.md)."""

from quantbot_pipeline.storage.views.agreement import agreeing_views, check_agreement
from quantbot_pipeline.storage.views.building import BuiltView, ViewBuild, build_views, check_views
from quantbot_pipeline.storage.views.files import ViewColumn, ViewTest
from quantbot_pipeline.storage.views.rendering import View, load_views
from quantbot_pipeline.storage.views.selection import load_selected_views, select_views
from quantbot_pipeline.storage.views.testing import ViewTestResult

__all__ = [
    "BuiltView",
    "View",
    "ViewBuild",
    "ViewColumn",
    "ViewTest",
    "ViewTestResult",
    "agreeing_views",
    "build_views",
    "check_agreement",
    "check_views",
    "load_selected_views",
    "load_views",
    "select_views",
]
