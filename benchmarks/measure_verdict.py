"""Measure how often the verdict on a search errs, on made-up searches whose truth is known.

    python benchmarks/measure_verdict.py [--searches 300] [--jobs 2]

Prints the tables of `docs/honesty.md`: false alarms on searches without an edge, and the share of planted edges that
is found. The same seeds give the same tables on any machine.
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from quantbot_pipeline.optimization.honesty.made_up_searches import SearchWorld, Tails, made_up_verdict
from quantbot_pipeline.optimization.honesty.verdict import Answer

ALL_TAILS: tuple[Tails, ...] = ("normal", "student", "moonshots", "rugs")
EDGES = (0.05, 0.1, 0.2, 0.3, 0.4)
CALL_COUNTS = (50, 100, 1000)
LEVEL = 0.05

NOISE = {
    "normal results": SearchWorld(tails="normal"),
    "Student, 4 degrees of freedom": SearchWorld(),
    "moonshots (lognormal)": SearchWorld(tails="moonshots"),
    "rugs (one in twelve loses 90 %)": SearchWorld(tails="rugs"),
    "half of the common risk is the day's": SearchWorld(market_share=0.5),
    "trials almost unrelated": SearchWorld(wavelength=0.15, common_share=0.0),
    "trials almost alike": SearchWorld(common_share=0.9),
    "100 calls in 30 days": SearchWorld(call_count=100, day_count=30),
    "2 000 calls": SearchWorld(call_count=2000),
    "1 000 trials": SearchWorld(trial_count=1000),
    "learning sampler": SearchWorld(sampler="climbing"),
    "learning sampler, rugs": SearchWorld(sampler="climbing", tails="rugs"),
    "learning sampler, no trials laid out": SearchWorld(sampler="climbing", laid_out_share=0.0),
    "learning sampler, not searched inside": SearchWorld(sampler="climbing", searches_inside=False),
}


@dataclass(frozen=True)
class Outcome:
    """What one search was said to be, and by which tests."""

    answer: Answer
    winner: bool
    unseen: bool
    deflated: bool
    overfitting: float


def outcome(world: SearchWorld, seed: int) -> Outcome:
    """Return the outcome of one made-up search."""
    found = made_up_verdict(world, seed)
    evidence = found.evidence
    return Outcome(
        answer=found.answer,
        winner=evidence.winner is not None and evidence.winner.p_value <= LEVEL,
        unseen=evidence.unseen is not None and evidence.unseen.p_value <= LEVEL,
        deflated=evidence.deflated is not None and evidence.deflated.probability >= 1 - LEVEL,
        overfitting=np.nan if evidence.overfitting is None else evidence.overfitting.probability,
    )


def share(flags: list[bool]) -> str:
    """Return a share in per cent."""
    return f"{100 * sum(flags) / len(flags):.1f}"


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--searches",
        type=int,
        default=300,
        help="made-up searches per line without an edge; a third with one (default: 300)",
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    arguments = parser.parse_args()
    began = time.perf_counter()
    seeds = range(10_000, 10_000 + arguments.searches)
    with ProcessPoolExecutor(arguments.jobs) as pool:

        def outcomes(world: SearchWorld) -> list[Outcome]:
            of_world = seeds[:: 3 if world.edge else 1]
            return list(pool.map(partial(outcome, world), of_world, chunksize=10))

        print(f"without an edge, {len(seeds)} searches each: said yes, per cent; and each test alone\n")
        print(
            "| noise | **yes** | too little data | unseen trades | winner among trials | deflated Sharpe | mean PBO |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for name, world in NOISE.items():
            found = outcomes(world)
            yes = share([each.answer is Answer.DISTINGUISHABLE for each in found])
            little = share([each.answer is Answer.TOO_LITTLE_DATA for each in found])
            alone = " | ".join(
                share([getattr(each, test) for each in found]) for test in ("unseen", "winner", "deflated")
            )
            overfitting = float(np.nanmean([each.overfitting for each in found]))
            print(f"| {name} | **{yes}** | {little} | {alone} | {overfitting:.2f} |", flush=True)

        print(f"\nwith an edge, 300 calls, {len(seeds[::3])} searches each: said yes, per cent\n")
        print("| edge, deviations of a trade | " + " | ".join(f"{edge:g}" for edge in EDGES) + " |")
        print("| --- " * (len(EDGES) + 1) + "|")
        worlds: dict[str, dict[str, float | bool | str]] = {tails: {"tails": tails} for tails in ALL_TAILS}
        worlds["one summit, student"] = {"edge_everywhere": False}
        worlds["learning sampler, one summit, student"] = {"edge_everywhere": False, "sampler": "climbing"}
        for name, kind in worlds.items():
            found_shares = []
            for edge in EDGES:
                found = outcomes(SearchWorld(edge=edge, **kind))  # type: ignore[arg-type]  # fields by name
                found_shares.append(share([each.answer is Answer.DISTINGUISHABLE for each in found]))
            print(f"| {name} | " + " | ".join(found_shares) + " |", flush=True)

        print("\nby number of calls, Student's tails: said yes / too little data, per cent\n")
        print("| calls | " + " | ".join(f"edge {edge:g}" for edge in EDGES) + " |")
        print("| --- " * (len(EDGES) + 1) + "|")
        for calls in CALL_COUNTS:
            cells = []
            for edge in EDGES:
                found = outcomes(SearchWorld(edge=edge, call_count=calls))
                yes = share([each.answer is Answer.DISTINGUISHABLE for each in found])
                cells.append(f"{yes} / {share([each.answer is Answer.TOO_LITTLE_DATA for each in found])}")
            print(f"| {calls} | " + " | ".join(cells) + " |", flush=True)
    print(f"\n{time.perf_counter() - began:.0f} s with {arguments.jobs} processes")


if __name__ == "__main__":
    main()
