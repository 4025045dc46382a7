"""Which computation is a session's, and what an error says of a request that is sent once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from aind_session.errors import CredentialsError
from aind_session.lookup import trail
from aind_session.lookup.questions import CODE_OCEAN
from aind_session.runs.values import Mount, Parameter
from aind_session.services import codeocean
from aind_session.services.codeocean import CodeOceanError
from aind_session.services.models import Computation, decode_computations

_MAYBE_PROCESSED = frozenset({408, 425, 429})


def computations_of(capsule: str) -> tuple[Computation, ...]:
    """Give the computations of a capsule or pipeline, ascending by creation.

    Raises
    ------
    CodeOceanNotFoundError
        There is no capsule or pipeline of this ID (a `ValueError`).
    """
    raws = trail.ask(
        CODE_OCEAN,
        f"computations of {capsule}",
        ("computations for a run", capsule),
        lambda: codeocean.list_computations(capsule),
        lambda found: f"{len(found)} computations",
        # What is a minute old would let a run start twice.
        seconds=0.0,
    )
    found = decode_computations(raws)
    return tuple(sorted(found, key=lambda c: (c.created, c.id)))


def has_inputs(
    computation: Computation, mounts: Sequence[Mount], parameters: Sequence[Parameter]
) -> bool:
    """Tell whether a computation has these data assets attached and these parameters.

    It may have more of both: assets and defaults of the capsule's own. A person's workstation with
    the asset attached is no run.
    """
    if getattr(computation, "cloud_workstation", None):
        return False
    attached = {asset.id for asset in computation.data_assets or ()}
    return {mount.id for mount in mounts} <= attached and _has_parameters(computation, parameters)


def _has_parameters(computation: Computation, parameters: Sequence[Parameter]) -> bool:
    told = computation.parameters or ()
    if not told:
        # Not told is not different.
        return True
    by_name = {name: p.value for p in told for name in (p.param_name, p.name) if name}
    values = Counter(p.value for p in told)
    for parameter in parameters:
        if parameter.name in by_name:
            if by_name[parameter.name] != parameter.value:
                return False
        elif values[parameter.value] < 1:
            return False
        else:
            values[parameter.value] -= 1
    return True


def alike(
    computations: Iterable[Computation], mounts: Sequence[Mount], parameters: Sequence[Parameter]
) -> list[Computation]:
    """Give the computations that have the inputs of a session's."""
    return [c for c in computations if has_inputs(c, mounts, parameters)]


def is_refusal(error: Exception) -> bool:
    """Tell whether Code Ocean said no: then nothing was started or made.

    After anything else (no answer, half of one, a gateway's error) it may have been.
    """
    return (
        isinstance(error, CodeOceanError)
        and not isinstance(error, CredentialsError)
        and 400 <= error.status_code < 500
        and error.status_code not in _MAYBE_PROCESSED
    )


def is_too_fast(error: Exception) -> bool:
    """Tell whether Code Ocean asks for patience: nothing was done, and may be later."""
    return isinstance(error, CodeOceanError) and error.status_code == 429


def in_a_line(error: Exception) -> str:
    """Put an error in a line."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
