"""What a look-ahead check found, in words: verdicts of a few words, and what to do about each fault."""

from datetime import UTC, datetime
from math import isfinite
from typing import Any

import numpy as np

from quantbot_pipeline.engine.lookahead import Causality, Difference, NamedCondition, named_conditions
from quantbot_pipeline.engine.warm_up import (
    MULTIPLES,
    SETTLED,
    ConditionHistory,
    IndicatorHistory,
    WarmUpReport,
)
from quantbot_pipeline.strategy.indicator_catalogue import indicator_label
from quantbot_pipeline.strategy.signals import walk_indicators
from quantbot_pipeline.workflows.check_lookahead import LookaheadCheck

# A look this far ahead, in candles, is no slip of an index: something was computed over all candles.
_FAR_AHEAD = 1000


def check_document(check: LookaheadCheck) -> dict[str, Any]:
    """Return everything a check found, for JSON: numbers, verdicts, and what to do."""
    causality, warm_up, data = check.causality, check.warm_up, check.data
    texts = {named.path: named for named in named_conditions(check.strategy)}
    return {
        "strategy": check.strategy.name,
        "verdict": check.verdict,
        "is_clean": check.is_clean,
        "engine": check.engine,
        "seed": check.seed,
        "data": {
            "tokens": [market.token for market in data.markets],
            "candles": sum(len(market.candles) for market in data.markets),
            "interval_seconds": data.interval_seconds,
            "calls": data.call_count,
            "checked_calls": sum(len(market.calls) for market in data.markets),
            "calls_on_other_tokens": data.calls_without_candles,
            "entry_calls": warm_up.calls,
            "calls_without_candles_after_them": warm_up.calls_without_candles,
            "measured_calls": warm_up.calls - warm_up.calls_without_candles,
            "candles_are_made_up": data.has_made_up_candles,
            "calls_are_made_up": data.has_made_up_calls,
        },
        "cuts": causality.cuts,
        "compared": causality.compared,
        "indicators": [
            {
                "indicator": label,
                **_causality_document(found),
                **_indicator_history_document(warm_up.indicators[label]),
            }
            for label, found in causality.indicators.items()
        ],
        "conditions": [
            {
                "path": path,
                "condition": texts[path].text,
                **_causality_document(found),
                **_condition_history_document(path, warm_up),
            }
            for path, found in causality.conditions.items()
        ],
        "events": _causality_document(causality.events),
        "reported_values": _causality_document(causality.reported_values),
        "declared_warm_up": warm_up.declared,
        "calls_with_less": warm_up.short_calls,
        "calls_with_shortened_history": warm_up.shortened_calls,
        "history": [
            {
                "candles_before_call": trial.candles,
                "calls": trial.calls,
                "changed_trades": trial.changed_trades,
                "closes": trial.closes,
                "changed_closes": dict(trial.changed_closes),
            }
            for trial in warm_up.trials
        ],
        "what_to_do": advice(check),
    }


def _causality_document(found: Causality) -> dict[str, Any]:
    first = found.first
    return {
        "causal": "LOOKS AHEAD" if found.looks_ahead else "yes" if found.is_shown else "not shown",
        "compared": found.compared,
        "known": found.known,
        "differing_cuts": found.differing_cuts,
        "candles_ahead": found.candles_ahead if first is not None else None,
        "first_difference": None
        if first is None
        else {
            "token": first.token,
            "candle": time_text(first.candle_at),
            "last_candle_left": time_text(first.cut_at),
            "candles_after_it": "taken away" if first.experiment == "cut" else "replaced by noise",
            "with_future": first.with_future,
            "without_future": first.without_future,
        },
    }


def indicator_verdict(found: IndicatorHistory) -> str:
    """Return what shortening the history said about an indicator, in a few words."""
    calls = len(found.histories)
    if found.is_never_known:
        return f"never known, NaN at all {calls} calls"
    if found.depends_on_history:
        worst = max(found.differences.get(multiple, 0.0) for multiple in MULTIPLES if multiple >= 1)
        return f"depends on history (max rel. diff. {worst:.1g})" if isfinite(worst) else "depends on history"
    if found.short_calls:
        return f"too little history before {found.short_calls} of {calls}"
    if found.unknown_at_calls:
        return f"settled; not defined at {found.unknown_at_calls} of {calls} calls"
    return "settled"


def _indicator_history_document(found: IndicatorHistory) -> dict[str, Any]:
    calls = len(found.histories)
    return {
        "warm_up": indicator_verdict(found),
        "declared_warm_up": found.declared,
        "needs": found.need,
        "needs_is_measured": found.measured_need is not None,
        "tolerance": SETTLED,
        "measured_calls": found.measured_calls,
        "differences": {f"{multiple:g}": value for multiple, value in sorted(found.differences.items())},
        "calls": calls,
        "calls_with_less": found.short_calls,
        "calls_not_known": found.unknown_at_calls,
        "shortest_history": min(found.histories, default=None),
        "longest_history": max(found.histories, default=None),
        "history_before_95_percent_of_calls": usual_history(found),
    }


def usual_history(found: IndicatorHistory) -> int | None:
    """Return how many candles at least come before 95 % of the calls; None without calls."""
    return int(np.quantile(found.histories, 0.05, method="lower")) if found.histories else None


def condition_verdict(path: str, warm_up: WarmUpReport) -> str:
    """Return what shortening the history said about a condition, in a few words."""
    found = warm_up.conditions[path]
    changed = _changed_when_declared(path, warm_up)
    if found.is_never_known:
        return "never known, so false"
    if changed:
        return f"depends on history ({changed} closes change)"
    if found.short_calls:
        return f"too little history before {found.short_calls} of {found.calls}"
    return "settled"


def _changed_when_declared(path: str, warm_up: WarmUpReport) -> int:
    return max((trial.changed_closes[path] for trial in warm_up.trials if trial.candles >= warm_up.declared), default=0)


def _condition_history_document(path: str, warm_up: WarmUpReport) -> dict[str, Any]:
    found: ConditionHistory = warm_up.conditions[path]
    return {
        "warm_up": condition_verdict(path, warm_up),
        "declared_warm_up": found.declared,
        "calls_with_less": found.short_calls,
        "closes": found.closes,
        "true_closes": found.true_closes,
        "unknown_closes": found.unknown_closes,
        "changed_closes": _changed_when_declared(path, warm_up),
    }


def advice(check: LookaheadCheck) -> list[str]:
    """Return what was found and what to do about it, a paragraph each; nothing for a clean strategy."""
    told = [*_advice_on_leaks(check), *_advice_on_history(check)]
    if check.causality.has_compared_nothing:
        told.append(
            "There was nothing to compare: no value of an indicator or condition is known on these candles, and no "
            "event is decided before the last of them. Nothing is shown, neither good nor bad; give more candles, and "
            "calls within them."
        )
    return told


def _advice_on_leaks(check: LookaheadCheck) -> list[str]:
    report = check.causality
    told = [_leak_text(label, found) for label, found in report.indicators.items() if found.looks_ahead]
    leaking = {label for label, found in report.indicators.items() if found.looks_ahead}
    for named in named_conditions(check.strategy):
        found = report.conditions[named.path]
        if found.looks_ahead and not leaking & _labels(named):
            told.append(
                _leak_text(named.path, found)
                + " Its indicators are causal, so look at how it is evaluated: shift, crossing, lookback."
            )
    signals_leak = any(found.looks_ahead for found in (*report.indicators.values(), *report.conditions.values()))
    if report.events.looks_ahead:
        cause = (
            "They follow from the leaks above."
            if signals_leak
            else "Indicators and conditions are causal, so an order acts on a candle that is not closed yet."
        )
        told.append(f"{_leak_text('The trades', report.events)} {cause}")
    elif report.reported_values.looks_ahead and not signals_leak:
        told.append(_leak_text("The indicator values that events report", report.reported_values))
    if told:
        told.append(
            "Do not trust results of this strategy. A strategy document has no way to name later candles, so this is a "
            f"fault of the {check.engine} engine or of an indicator in it: compare with --engine "
            f"{'reference' if check.engine == 'fast' else 'fast'}, and report it."
        )
    return told


def _labels(named: NamedCondition) -> set[str]:
    return {
        indicator_label(operand.indicator, operand.params, operand.field or "")
        for operand in walk_indicators(named.node)
    }


def _leak_text(subject: str, found: Causality) -> str:
    first = found.first
    assert first is not None  # noqa: S101 - asked for leaks only
    return f"{subject}: LOOKS AHEAD, {_reach_text(found)}. {difference_text(first)}"


def _reach_text(found: Causality) -> str:
    if found.candles_ahead == 0:
        return "knowing the rest of a candle that has only opened"
    if found.candles_ahead == 1:
        return "by at least 1 candle"
    text = f"by at least {count_text(found.candles_ahead)} candles"
    if found.candles_ahead > _FAR_AHEAD:
        text += " (something is computed over all candles, such as a mean, a rank or an extreme?)"
    return text


def difference_text(first: Difference) -> str:
    """Return the first difference in a sentence."""
    how = "without" if first.experiment == "cut" else "with other"
    return (
        f"First seen on {first.token} at the candle of {time_text(first.candle_at)}: {first.with_future}; {how} "
        f"candles after {time_text(first.cut_at)}: {first.without_future}."
    )


def _advice_on_history(check: LookaheadCheck) -> list[str]:
    warm_up, told, short = check.warm_up, [], []
    for label, found in warm_up.indicators.items():
        if found.is_never_known:
            told.append(_never_known_text(label, found, check.data.interval_seconds))
        elif found.depends_on_history:
            told.append(
                f"{label} depends on more history than its declared {count_text(found.declared)} candles: the same "
                "call gives other values on a longer file. Always give it the same history, as much as there is."
            )
        elif found.short_calls:
            short.append(_short_text(label, found))
    if short:
        told.append(
            "\n".join(
                [
                    "Before some calls there is too little history. A condition with a value that is not known is "
                    "false; one with a value that is still settling may come out differently on a longer file. Give "
                    "candles that begin earlier, or leave these calls out.",
                    *short,
                ]
            )
        )
    told += _advice_on_decisions(check)
    return told


def _advice_on_decisions(check: LookaheadCheck) -> list[str]:
    warm_up = check.warm_up
    tried = [trial for trial in warm_up.trials if trial.candles >= warm_up.declared and trial.calls]
    changing = next((trial for trial in tried if trial.changes_decisions), None)
    if changing is not None:
        return [
            f"With {candles_text(changing.candles, check.data.interval_seconds)} before each call instead of all, "
            f"{changing.changed_trades} of {changing.calls} trades come out differently: results depend on where the "
            "candle files begin."
        ]
    if warm_up.indicators and not tried:
        return [
            f"No call has more than the declared {candles_text(warm_up.declared, check.data.interval_seconds)} before "
            "it, so whether decisions depend on still more could not be tried."
        ]
    return []


def _never_known_text(label: str, found: IndicatorHistory, interval_seconds: int | None) -> str:
    if found.unknown_with_history:
        return (
            f"{label} has no value at any call, though there is history enough before {found.unknown_with_history} "
            "of them: it is not defined on these candles (no volume, or no movement). Conditions with it are false."
        )
    return (
        f"{label} is never known: it needs {candles_text(found.need, interval_seconds)} before a call to be settled, "
        f"and no call has more than {count_text(max(found.histories))}. Conditions with it are false. Give candles "
        "that begin earlier, or a shorter period."
    )


def _short_text(label: str, found: IndicatorHistory) -> str:
    """Return what an indicator is at calls with too little history."""
    settling = found.short_calls - found.unknown_at_calls
    state = [f"not known at {found.unknown_at_calls}"] if found.unknown_at_calls else []
    if settling > 0:
        state.append(f"still settling at {settling}")
    usual = count_text(usual_history(found) or 0)
    return (
        f"{label}: {', '.join(state)} of {len(found.histories)} calls; it needs {count_text(found.need)} candles, 95 % "
        f"of calls have {usual} or more"
    )


def time_text(seconds: int) -> str:
    """Return a time as `2025-01-31T12:00:00Z`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def count_text(count: int) -> str:
    """Return a count with its thousands apart."""
    return f"{count:,}"


def candles_text(candles: int, interval_seconds: int | None) -> str:
    """Return a number of candles, with how long they take where all tokens have the same interval."""
    text = f"{count_text(candles)} candle{'' if candles == 1 else 's'}"
    return text if interval_seconds is None else f"{text} = {duration_text(candles * interval_seconds)}"


def duration_text(seconds: int) -> str:
    """Return a duration in its two largest units, such as `9 d 18 h`."""
    parts = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if seconds >= length:
            parts.append(f"{seconds // length} {unit}")
            seconds %= length
    return " ".join(parts[:2]) or "0 s"
