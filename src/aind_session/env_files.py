"""Find and read `.env` files."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


@dataclass(frozen=True)
class EnvFile:
    """A `.env` file; `problem` is the reason if it could not be read."""

    path: str
    values: dict[str, str] = field(default_factory=dict, repr=False)
    problem: str = ""


def read_all() -> list[EnvFile]:
    """Return the `.env` files of the working directory, its parents up to the root, and home."""
    return [_read(path) for path in _paths()]


def _paths() -> Iterator[Path]:
    here, home = _path_of(Path.cwd), _path_of(Path.home)
    seen: set[Path] = set()
    for folder in (here, *here.parents) if here is not None else ():
        # The project's root is the first folder with `.git` or `pyproject.toml`; a file above it
        # is not the project's. Without a root only the working directory itself is searched.
        candidate = folder / ".env"
        if candidate not in seen and os.path.isfile(candidate):
            seen.add(candidate)
            yield candidate
        if folder == home or _is_root(folder):
            break
        if folder == here and not any(map(_is_root, here.parents)):
            break
    if home is not None and (home / ".env") not in seen and os.path.isfile(home / ".env"):
        yield home / ".env"


def _path_of(find: Callable[[], Path]) -> Path | None:
    """Return a folder, or None if it was deleted or the user of a container has none."""
    try:
        return find()
    except (OSError, RuntimeError):
        return None


def _is_root(folder: Path) -> bool:
    # `os.path.exists` is False for a folder without read permission; `Path.exists` raises.
    return any(os.path.exists(folder / name) for name in (".git", "pyproject.toml"))


def _read(path: Path) -> EnvFile:
    try:
        text = _decoded(path.read_bytes())
    except OSError as error:
        return EnvFile(str(path), problem=error.strerror or type(error).__name__)
    except UnicodeError:
        return EnvFile(str(path), problem="it is neither UTF-8 nor UTF-16 text")
    from dotenv import dotenv_values

    # Without interpolation: a file cannot copy a secret of the environment into its own values.
    values = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return EnvFile(str(path), {name: value for name, value in values.items() if value})


def _decoded(data: bytes) -> str:
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in data[:2]:
        # UTF-16 without a mark: every second byte of ASCII text is zero.
        encoding = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    text = data.decode(encoding)
    if "\0" in text:
        raise UnicodeError("binary content")
    return text
