"""How kernels are compiled, and how the compiled code is kept for the next process.

numba keeps the code of an outer kernel, with all it calls, beside the kernel's own source file (`__pycache__`), in the
user's cache folder where that cannot be written, and under `NUMBA_CACHE_DIR` where that is set.
"""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from numba import njit
from numba.extending import register_jitable

from quantbot_pipeline.strategy import compile as compile_module

_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])

OUTER_KERNELS: list[Any] = []
"""All functions that Python calls, as numba's dispatchers."""


def sources_of_kernels() -> list[Path]:
    """Return the files that compiled code follows from: all of this folder, and the slots of a compiled strategy."""
    return [*sorted(Path(__file__).parent.glob("*.py")), Path(compile_module.__file__)]


def digest_of_sources(sources: Sequence[Path]) -> str:
    """Return what tells versions of the files apart, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in sources:
        content = path.read_bytes()
        digest.update(f"{path.name}:{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


_DIGEST = digest_of_sources(sources_of_kernels())


def inner(function: _Kernel) -> _Kernel:
    """Compile a function that only kernels call, with them.

    For Python it stays the function it was. Kernels share one version of it, whatever numbers they pass: `njit` would
    compile one for every combination of constants, which takes three times as long in all. Division by zero
    gives infinity as in numpy; `fastmath` stays off, it would change results.
    """
    registered: _Kernel = register_jitable(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(
        function
    )
    return registered


def outer(function: _Kernel) -> _Kernel:
    """Compile a function that Python calls, with all it calls, on its first call; keep the code for other processes.

    numba looks at the function's own file alone to see whether what it kept is stale. The name under which it keeps
    code says the rest, so that an upgrade never runs kernels of another version.
    Where code cannot be kept a warning says so, and every process compiles for itself.
    """
    function.__qualname__ = f"{function.__qualname__}_{_DIGEST}"
    try:
        compiled = njit(error_model="numpy", cache=True, nogil=True)(function)
    except RuntimeError:  # What numba raises when it finds no folder to write to.
        warnings.warn(
            f"compiled kernels cannot be kept: neither {Path(function.__code__.co_filename).parent / '__pycache__'} "
            "nor the user's cache folder can be written, so every process compiles the engine anew (10 to 60 s); "
            "make one of them writable, or name a folder by the environment variable NUMBA_CACHE_DIR",
            RuntimeWarning,
            stacklevel=2,
        )
        compiled = njit(error_model="numpy", nogil=True)(function)
    OUTER_KERNELS.append(compiled)
    kernel: _Kernel = compiled
    return kernel
