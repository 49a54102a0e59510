"""A search as a study of Optuna in a database of its own, for its dashboard and for people who analyse studies."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from quantbot_pipeline.errors import InputError
from quantbot_pipeline.optimization.objectives import Objective
from quantbot_pipeline.optimization.parameters import CategoricalParameter, FloatParameter, Parameter, same_json
from quantbot_pipeline.optimization.spaces import SearchSpace
from quantbot_pipeline.optimization.tally import TrialRecord

_STATES = {"scored": TrialState.COMPLETE, "pruned": TrialState.PRUNED}


def export_study(
    url: str,
    name: str,
    *,
    space: SearchSpace,
    objective: Objective,
    trials: Sequence[TrialRecord],
    attributes: Mapping[str, Any],
) -> int:
    """Write trials as a study, and return how many there are.

    Scores keep their sense: higher is better, so every direction is `maximize`, and a metric that is minimised has its
    sign changed. Pruned trials are pruned ones; those without a score have failed, and say why.

    Args:
        url: Where, such as `sqlite:///search.db`.
        name: Name of the study; one of this name must not be there.
        space: What varied.
        objective: Its goals name the study's metrics.
        trials: In the order of their numbers.
        attributes: What the study says of itself.

    Raises:
        InputError: the database can't be opened, or has a study of this name.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    parameters = {parameter.path: parameter for parameter in space.parameters}
    frozen = [_frozen(trial, parameters, len(objective.goals)) for trial in trials]
    try:
        study = optuna.create_study(
            storage=url, study_name=name, directions=["maximize"] * len(objective.goals), load_if_exists=False
        )
    except optuna.exceptions.DuplicatedStudyError as error:
        raise InputError(
            f"--export-study: {_shown(url)} has a study {name!r} already; give another file, or delete that one"
        ) from error
    except Exception as error:
        raise InputError(
            f"--export-study: {_why_not_opened(url, error)}; allowed is a URL such as sqlite:///search.db"
        ) from error
    try:
        for key, value in attributes.items():
            study.set_user_attr(key, value)
        study.add_trials(frozen)
    except BaseException:
        # A part would be taken for the whole, and stand in the way of the next attempt.
        with suppress(Exception):
            optuna.delete_study(study_name=name, storage=url)
        raise
    return len(trials)


def _shown(url: str) -> str:
    """Return a URL for a message; of a server's nothing but the kind, because it may hold a password."""
    kind = url.partition("://")[0]
    return url if kind == "sqlite" else f"{kind}://…"


def _why_not_opened(url: str, error: Exception) -> str:
    """Return why a database can't be opened.

    SQLAlchemy says it over many lines, some of which quote the URL, which may hold a password; its classes are known
    by their names, because it comes with Optuna and is no dependency of its own.
    """
    kind, _, place = url.partition("://")
    shown = f"found {_shown(url)}"
    match type(error).__name__:
        case "ArgumentError":
            return "found a text that is not a URL of a database"
        case "NoSuchModuleError" | "ImportError" | "ModuleNotFoundError":
            return f"{shown}, for which no driver is installed"
    if kind == "sqlite":
        folder = Path(place.removeprefix("/")).parent
        return f"the folder {folder} does not exist" if not folder.is_dir() else f"{shown}, which is no SQLite database"
    return f"{shown}, whose server can't be reached or refuses the login"


def _frozen(trial: TrialRecord, parameters: Mapping[str, Parameter], goal_count: int) -> optuna.trial.FrozenTrial:
    state = _STATES.get(trial.state, TrialState.FAIL)
    scores = trial.scores if trial.scores is not None and len(trial.scores) == goal_count else None
    return optuna.trial.create_trial(
        state=state,
        params={path: _value(parameters[path], value) for path, value in trial.params.items()},
        distributions={path: _distribution(parameters[path]) for path in trial.params},
        values=list(scores) if scores is not None and state is TrialState.COMPLETE else None,
        user_attrs={"trial": trial.index, "state": trial.state, "reason": trial.reason}
        | {key: value for key, value in (trial.metrics or {}).items() if value is not None},
    )


def _value(parameter: Parameter, value: Any) -> Any:
    if isinstance(parameter, CategoricalParameter):
        return next(_choice(choice) for choice in parameter.choices if same_json(choice, value))
    return float(value) if isinstance(parameter, FloatParameter) else int(value)


def _choice(choice: Any) -> Any:
    """Return a choice as Optuna takes it: whole sections as their JSON."""
    return choice if choice is None or isinstance(choice, bool | int | float | str) else json.dumps(choice)


def _distribution(parameter: Parameter) -> BaseDistribution:
    if isinstance(parameter, CategoricalParameter):
        return CategoricalDistribution([_choice(choice) for choice in parameter.choices])
    if isinstance(parameter, FloatParameter):
        # Without the step: sums of decimal steps are not always what Optuna takes for a step.
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    return IntDistribution(parameter.low, parameter.high, log=parameter.log)
