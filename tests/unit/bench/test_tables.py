"""Tables of a run."""

from quantbot_pipeline.bench.tables import markdown_of


def _row(engine: str, seconds: float, *, pnl_difference: float) -> dict[str, object]:
    return {
        "work": "full ladder",
        "engine": engine,
        "tokens": 10,
        "seconds": seconds,
        "ratio": seconds / 0.0005,
        "candles_per_second": 1e5 / seconds,
        "trades": 100,
        "has_same_trades": True,
        "pnl_difference": pnl_difference,
        "spread": 0.4,
        "is_noisy": True,
    }


def test_markdown_shows_ratios_agreement_and_noise() -> None:
    rate = {"seconds": 0.004, "spread": 0.1, "is_noisy": False, "candles_per_second": 5e8}
    steps = {"work": "full ladder", "mode": "events", "candle_steps_per_second": 2e8, "trades": 400}
    document = {
        "command": "quantbot bench engine",
        "measured_at": "2025-01-01T00:00:00Z",
        "machine": {"cores": 2, "processor": "P", "system": "S", "versions": {"python": "3.11"}},
        "load": {"before": 0.5, "after": 3.0},
        "noise": ["load average 3.0 after the run on 2 cores"],
        "first_call": {"first_call_seconds": 0.4, "import_seconds": 0.7},
        "markets": [
            {
                "name": "seeded",
                "tokens": 200,
                "candles": 2_000_000,
                "calls": 2_000,
                "memory_limit": [{**rate, "threads": 1}],
                "works": [{**rate, **steps, "threads": 1}, {**rate, **steps, "threads": 2, "seconds": 0.002}],
                "around": [{**rate, "what": "trades"}],
                "search": [],
                # A ladder that earns 1e-5 per trade more did other work; 1e-8 is whole units.
                "slower": [
                    _row("quantbot", 0.0005, pnl_difference=0.0),
                    _row("exact", 0.6, pnl_difference=1e-6),
                    _row("other", 0.06, pnl_difference=1e-3),
                ],
            }
        ],
    }
    lines = markdown_of(document).splitlines()
    assert "noisy run, take it again: load average 3.0 after the run on 2 cores." in lines
    assert "**seeded: 200 tokens, 2,000,000 candles, 2,000 calls**" in lines
    # 2e8 steps/s, twice as quick on two cores; 400 trades in 4 ms are 1e5/s.
    assert "| full ladder | events | 2.00e8 | 2.00e8 | 2 | 5.00e8 | 1.00e5 | 10 % |" in lines
    assert "| full ladder | quantbot | 10 | 0.5 |  | 2.00e8 | yes | 40 %! |" in lines
    assert "| full ladder | exact | 10 | 600 | 1,200 | 1.67e5 | yes | 40 %! |" in lines
    assert "| full ladder | other | 10 | 60 | 120 | 1.67e6 | no | 40 %! |" in lines
    assert "| its imports | 0.7 | s |" in lines
