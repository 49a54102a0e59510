"""One invented token: its pumps, its volume, and the candles' own rules."""

import numpy as np
import pytest

from quantbot_pipeline.sample.price_paths import PricePath, make_price_path
from quantbot_pipeline.sample.random_numbers import RandomNumbers

# 90 days of five-minute bars.
BAR_COUNT = 90 * 288


@pytest.fixture(scope="module")
def paths() -> list[PricePath]:
    return [make_price_path(RandomNumbers(3, 2, number), number, BAR_COUNT, 300) for number in range(12)]


def quiet_bars(path: PricePath) -> np.ndarray:
    """Return where no pump is near and the token trades."""
    is_quiet = path.is_present & (path.volume > 0)
    for pump in path.pumps:
        is_quiet[pump.start - 288 : pump.end] = False
    return is_quiet


def test_every_bar_keeps_the_rules_of_a_candle(paths: list[PricePath]) -> None:
    for path in paths:
        assert (path.low > 0).all()
        assert (path.low <= np.minimum(path.open, path.close)).all()
        assert (np.maximum(path.open, path.close) <= path.high).all()
        assert (path.volume >= 0).all()
        assert np.isfinite(path.high * path.volume).all()


def test_a_pump_multiplies_the_price_as_planned(paths: list[PricePath]) -> None:
    ratios = [path.close[pump.peak] / path.close[pump.start] / pump.multiple for path in paths for pump in path.pumps]
    assert len(ratios) > 60
    # The walk beneath the pump has a scale of about 10 % over its few hours.
    assert 0.9 < np.median(ratios) < 1.1
    assert all(3.0 <= pump.multiple < 20.0 for path in paths for pump in path.pumps)


def test_pumps_have_candles_from_a_day_before_and_come_before_the_rug(paths: list[PricePath]) -> None:
    for path in paths:
        for pump in path.pumps:
            assert path.is_present[max(path.launch, pump.start - 288) : pump.end].all()
            assert pump.end < (path.rug_bar or BAR_COUNT)


def test_a_rug_pull_takes_nine_tenths_within_two_bars(paths: list[PricePath]) -> None:
    rugged = [path for path in paths if path.rug_bar is not None]
    assert len(rugged) == 2
    for path in rugged:
        assert path.rug_bar is not None
        assert path.close[path.rug_bar + 1] < 0.15 * path.close[path.rug_bar - 1]
        is_traded = path.is_present & (path.volume > 0)
        assert is_traded[path.rug_bar + 288 :].mean() < 0.5


def test_volume_creeps_up_before_a_pump(paths: list[PricePath]) -> None:
    """Without it nothing in the candles would tell a good call from a bad one."""
    before, otherwise = [], []
    for path in paths:
        quote_volume = path.volume * path.close
        before += [quote_volume[pump.start - 1] for pump in path.pumps]
        otherwise.append(quote_volume[quiet_bars(path)].mean())
    assert np.mean(before) > 1.8 * np.mean(otherwise)


def test_volume_follows_the_size_of_a_move_without_any_pump(paths: list[PricePath]) -> None:
    for path in paths:
        is_quiet = quiet_bars(path)
        moves = np.abs(path.close / path.open - 1)[is_quiet]
        quote_volume = (path.volume * path.close)[is_quiet]
        busiest = moves >= np.quantile(moves, 0.98)
        assert quote_volume[busiest].mean() > 1.5 * quote_volume[~busiest].mean()
