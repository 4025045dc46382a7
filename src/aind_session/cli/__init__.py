"""The command `aind-session`: the library's answers in a terminal, a pipe or a script."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments
        The words after the command's name; by default those that this process was started with.

    Returns
    -------
    int
        The exit code: 0 found or done; 1 not found, or a check failed; 2 wrong usage; 3 could not
        be checked; 130 interrupted; 141 the reader of the output is gone.

    Examples
    --------
    >>> from aind_session.cli import main
    >>> main(["show", "676909_2023-12-13_13-43-40", "--csv"])  # doctest: +ELLIPSIS
    id,platform,subject_id,...
    """
    # Not at import: `import aind_session.cli` alone loads neither typer nor rich.
    from aind_session.cli import app

    return app.main(arguments)
