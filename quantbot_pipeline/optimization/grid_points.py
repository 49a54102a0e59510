"""The grid of a search space: its points counted and found by position, without a list of them.

Points are ordered as in the document, the last parameter fastest. A parameter that does not exist at a point
has no values there, so it does not multiply the number of points. Constraints do not change positions: a
point that breaks one keeps its own.
"""

from bisect import bisect_right
from itertools import accumulate
from typing import Any

from quantbot_pipeline.optimization.conditions import Condition
from quantbot_pipeline.optimization.parameters import parameter_values, value_at, value_count
from quantbot_pipeline.optimization.spaces import SearchSpace

# Truth of each condition, in the order of `Grid._conditions`; false until its parameter has a value.
_State = tuple[bool, ...]


class Grid:
    """All combinations of the values of a space.

    Raises:
        SearchSpaceError: a parameter is a float without `step`, or one that others hang on has more than
            1 000 000 values.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._conditions: list[Condition] = []
        self._needs: list[list[int]] = []
        for conditions in space.conditions:
            # The same condition of several parameters is one: states would multiply otherwise.
            # By their text: true and 1 are equal to Python and not to a condition.
            texts = [repr(each) for each in self._conditions]
            self._conditions += [each for each in conditions if repr(each) not in texts]
            texts = [repr(each) for each in self._conditions]
            self._needs.append([texts.index(repr(each)) for each in conditions])
        self._last_need = [
            max(k for k, needs in enumerate(self._needs) if position in needs)
            for position in range(len(self._conditions))
        ]
        self._decides = [
            [position for position, condition in enumerate(self._conditions) if condition.controller == k]
            for k in range(len(space.parameters))
        ]
        self._sizes = [self._size(k) for k in range(len(space.parameters))]
        self._counts: dict[tuple[int, _State], int] = {}
        self._ends: dict[tuple[int, _State], list[int]] = {}

    def __len__(self) -> int:
        """Return the number of points; use `point_count` where it may be beyond 2**63."""
        return self.point_count

    @property
    def point_count(self) -> int:
        """How many points there are."""
        return self._count(0, (False,) * len(self._conditions))

    def point(self, index: int) -> dict[str, Any]:
        """Return path → value of the parameters that exist at a point.

        Args:
            index: Position of the point, from 0 to below `point_count`.

        Raises:
            IndexError: there is no such point.
        """
        if not 0 <= index < self.point_count:
            raise IndexError(f"grid point {index} of {self.point_count}")
        params: dict[str, Any] = {}
        state: _State = (False,) * len(self._conditions)
        for k, parameter in enumerate(self._space.parameters):
            if not self._exists(k, state):
                continue
            if self._decides[k]:
                ends = self._cumulated(k, state)
                position = bisect_right(ends, index)
                index -= ends[position - 1] if position else 0
            else:
                position, index = divmod(index, self._count(k + 1, state))
            params[parameter.path] = value_at(parameter, position)
            state = self._after(k, state, position)
        return params

    def _size(self, k: int) -> int:
        parameter = self._space.parameters[k]
        value_at(parameter, 0)
        size = value_count(parameter) or 0
        if self._decides[k]:
            # How others depend on it is listed by value, so it must have few.
            return len(parameter_values(parameter))
        return size

    def _exists(self, k: int, state: _State) -> bool:
        return all(state[position] for position in self._needs[k])

    def _after(self, k: int, state: _State, position: int) -> _State:
        """Return the state once parameter k has its value at a position."""
        if not self._decides[k]:
            return state
        value = value_at(self._space.parameters[k], position)
        known = list(state)
        for decided in self._decides[k]:
            known[decided] = self._conditions[decided].holds_for(value)
        return tuple(known)

    def _key(self, k: int, state: _State) -> tuple[int, _State]:
        return k, tuple(truth and k <= last for truth, last in zip(state, self._last_need, strict=True))

    def _count(self, k: int, state: _State) -> int:
        """Return the number of points of parameters k and later ones."""
        if k == len(self._sizes):
            return 1
        # What nobody asks for any more must not tell states apart: their number would grow without bound.
        key = self._key(k, state)
        if key not in self._counts:
            if not self._exists(k, state):
                self._counts[key] = self._count(k + 1, state)
            elif self._decides[k]:
                self._counts[key] = self._cumulated(k, state)[-1]
            else:
                self._counts[key] = self._sizes[k] * self._count(k + 1, state)
        return self._counts[key]

    def _cumulated(self, k: int, state: _State) -> list[int]:
        """Return how many points there are up to and with each value of a parameter that others hang on."""
        key = self._key(k, state)
        if key not in self._ends:
            counts = (self._count(k + 1, self._after(k, state, position)) for position in range(self._sizes[k]))
            self._ends[key] = list(accumulate(counts))
        return self._ends[key]
