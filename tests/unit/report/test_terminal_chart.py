"""A chart of characters: what lies where."""

from quantbot_pipeline.cli.terminal_chart import Mark, Span, chart_lines


def test_prices_are_dots_from_low_to_high_and_marks_lie_over_them() -> None:
    # Five characters of labels, ten of chart, two lines. The first half is at 1, the second reaches to 2.
    spans = [Span(at, at + 10, 1.0, 1.0 if at < 50 else 2.0) for at in range(0, 100, 10)]

    lines = chart_lines(spans, [Mark(95, 1.0, "X", "bold")], start=0, end=100, width=12, height=2, upright_at=25)

    assert [line.plain for line in lines] == ["2   ┊  ⡇⡇⡇⡇⡇", "1 ⡀⡀⡀⡀⡀⡇⡇⡇⡇X"]


def test_prices_that_multiply_are_drawn_by_their_ratio() -> None:
    # 10 is half way from 1 to 100 by ratio, and near the bottom by difference.
    spans = [Span(0, 10, 1.0, 1.0), Span(10, 20, 10.0, 10.0), Span(20, 30, 100.0, 100.0)]

    lines = [line.plain for line in chart_lines(spans, [], start=0, end=30, width=14, height=3)]

    assert [bool(line[4:].strip()) for line in lines] == [True, True, True]


def test_a_price_that_never_moves_is_a_line() -> None:
    (line,) = chart_lines([Span(0, 10, 5.0, 5.0)], [], start=0, end=10, width=12, height=1)

    assert "⠉" in line.plain or "⠁" in line.plain
