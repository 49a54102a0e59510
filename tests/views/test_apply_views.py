"""Applying views to real servers, again and after changes, and running their header tests."""

from pathlib import Path

import psycopg
import pytest
from view_scene import Scene, Urls

from quantbot_pipeline.errors import MigrationError, ServerError, StorageError
from quantbot_pipeline.storage.views import (
    View,
    apply_clickhouse_views,
    apply_postgres_views,
    apply_views,
    check_clickhouse_views,
    check_postgres_views,
    load_views,
)

pytestmark = pytest.mark.server

TABLES = frozenset({"callers", "published_calls"})


def _views(folder: Path, bodies: dict[str, str]) -> list[View]:
    for name, body in bodies.items():
        (folder / f"{name}.sql").write_text(body, encoding="utf-8")
    return load_views("postgres", folder, TABLES)


def _columns(url: str, view: str) -> list[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "select column_name from information_schema.columns where table_name = %s order by ordinal_position",
            [view],
        )
        return [row[0] for row in rows]


def test_applying_twice_changes_nothing_and_names_every_view(scene: Scene) -> None:
    scene.run("s", {scene.call("ann", "A"): 0.5})
    before = scene.rows("clickhouse", "mart_strategy_leaderboard", "strategy_rank")

    applied = apply_views(scene.urls.postgres, scene.urls.clickhouse)

    assert applied == [f"{d}.{view.name}" for d in ("postgres", "clickhouse") for view in load_views(d)]
    assert scene.rows("clickhouse", "mart_strategy_leaderboard", "strategy_rank") == before


def test_a_view_whose_columns_changed_is_replaced_with_what_depends_on_it(urls: Urls, tmp_path: Path) -> None:
    below = "-- depends: callers\nselect id, handle from callers"
    above = "-- depends: stg_test_below\nselect id from stg_test_below"
    apply_postgres_views(urls.postgres, _views(tmp_path, {"stg_test_below": below, "int_test_above": above}))
    changed = "-- depends: callers\nselect source, id from callers"

    try:
        apply_postgres_views(urls.postgres, _views(tmp_path, {"stg_test_below": changed}))

        assert _columns(urls.postgres, "stg_test_below") == ["source", "id"]
        assert _columns(urls.postgres, "int_test_above") == ["id"]
    finally:
        with psycopg.connect(urls.postgres) as connection:
            connection.execute("drop view stg_test_below cascade")


def test_what_users_built_on_a_view_is_never_dropped(urls: Urls, tmp_path: Path) -> None:
    apply_postgres_views(
        urls.postgres, _views(tmp_path, {"stg_test_own": "-- depends: callers\nselect id from callers"})
    )
    with psycopg.connect(urls.postgres) as connection:
        connection.execute("create view users_own as select id from stg_test_own")
    changed = _views(tmp_path, {"stg_test_own": "-- depends: callers\nselect source from callers"})

    try:
        with pytest.raises(StorageError, match="users_own"):
            apply_postgres_views(urls.postgres, changed)

        assert _columns(urls.postgres, "stg_test_own") == ["id"]
    finally:
        with psycopg.connect(urls.postgres) as connection:
            connection.execute("drop view stg_test_own cascade")


def test_a_view_that_a_database_refuses_is_named_and_leaves_the_others_as_they_were(urls: Urls, tmp_path: Path) -> None:
    views = _views(
        tmp_path,
        {
            "stg_test_fine": "-- depends: callers\nselect id from callers",
            "stg_test_wrong": "-- depends: callers\nselect no_such_column from callers",
        },
    )

    with pytest.raises(MigrationError, match=r"stg_test_wrong\.sql: the database refuses the view: .*no_such_column"):
        apply_postgres_views(urls.postgres, views)
    with pytest.raises(MigrationError, match=r"stg_test_wrong\.sql: the database refuses the view"):
        apply_clickhouse_views(urls.clickhouse, views[1:])

    assert _columns(urls.postgres, "stg_test_fine") == []


def test_header_tests_fail_on_rows_that_break_them(scene: Scene, tmp_path: Path) -> None:
    # Two calls: ann and bob, both on token A.
    scene.call("ann", "A")
    scene.call("bob", "A")
    scene.run("s", {scene.call("bob", "A"): 0.5})
    header = [
        "-- depends: stg_calls",
        "-- test: unique(token_address)",
        "-- test: unique(call_id)",
        "-- test: not_null(nothing)",
        "-- test: accepted(caller_handle, ann, it's)",
        "-- test: accepted(caller_handle, ann, bob)",
        "-- test: relationship(token_address, stg_calls.caller_handle)",
        "-- test: relationship(token_address, stg_calls.token_address)",
        "-- test: holds(caller_handle = 'ann')",
        "-- test: holds(call_id > 0)",
    ]
    body = "select call_id, token_address, caller_handle, nullif(1, 1) as nothing from stg_calls"
    (tmp_path / "stg_test_rows.sql").write_text("\n".join([*header, body]), encoding="utf-8")
    views = load_views("postgres", tmp_path, frozenset({"stg_calls"}))
    # unique: one token for three calls is one repeated key; not_null: three rows; accepted and holds: bob's two;
    # relationship: no caller is named as the token is, three rows.
    expected = [1, 0, 3, 2, 0, 3, 0, 2, 0]

    apply_postgres_views(scene.urls.postgres, views)
    apply_clickhouse_views(scene.urls.clickhouse, views)
    in_postgres = check_postgres_views(scene.urls.postgres, views)
    in_clickhouse = check_clickhouse_views(scene.urls.clickhouse, views)

    assert [result.failures for result in in_postgres] == expected
    assert [result.failures for result in in_clickhouse] == expected
    assert [result.passed for result in in_clickhouse] == [failures == 0 for failures in expected]


def test_a_header_test_that_can_not_run_names_its_view(scene: Scene, tmp_path: Path) -> None:
    text = "-- depends: callers\n-- test: not_null(no_such_column)\nselect id from callers"
    views = _views(tmp_path, {"stg_test_lacking": text})
    apply_postgres_views(scene.urls.postgres, views)

    with pytest.raises(StorageError, match=r"stg_test_lacking\.sql: the test not_null\(no_such_column\) can't run"):
        check_postgres_views(scene.urls.postgres, views)


def test_servers_that_do_not_answer_are_an_error_without_the_password() -> None:
    with pytest.raises(ServerError) as postgres:
        apply_postgres_views("postgresql://someone:secret@127.0.0.1:1/nothing", [])
    with pytest.raises(ServerError) as clickhouse:
        apply_clickhouse_views("http://someone:secret@127.0.0.1:1/nothing", [])

    assert "secret" not in str(postgres.value) + str(clickhouse.value)
