"""The journal of a recording: what is done so far, so that nothing is asked twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO

from aind_session.errors import InvalidFilterError
from aind_session.sandbox.catalogue import Json

NAME = ".recording.jsonl"
#: Raised where what is written changes its meaning: older journals are then begun anew.
VERSION = 1


class Journal:
    """Parts of a recording by name, each a line of a file, written once it is complete.

    Parameters
    ----------
    folder
        The folder of the catalogue.
    options
        What must be the same for parts to fit together.
    """

    def __init__(self, folder: Path, options: Json) -> None:
        self.path = folder / NAME
        self.options = options
        self.parts: dict[str, Json] = {}
        self._lock = threading.Lock()
        self._file: IO[str] | None = None

    def __enter__(self) -> Journal:
        whole = self._read()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # What was torn off when the recording was broken off is dropped here.
        part = self.path.with_name(NAME + ".part")
        part.write_text("".join(f"{line}\n" for line in whole), "utf-8", newline="\n")
        part.replace(self.path)
        self._file = self.path.open("a", encoding="utf-8", newline="\n")
        if not whole:
            self._append({"journal": VERSION, "options": self.options})
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file = None

    def _read(self) -> list[str]:
        if not self.path.is_file():
            return []
        lines = self.path.read_text("utf-8", errors="replace").split("\n")
        whole: list[str] = []
        for line in lines[:-1]:
            try:
                told = json.loads(line)
            except ValueError:
                break
            if not whole:
                if told.get("journal") != VERSION:
                    return []
                self._check(told.get("options"))
            elif isinstance(told.get("part"), str):
                self.parts[told["part"]] = told["found"]
            whole.append(line)
        return whole

    def _check(self, options: Json) -> None:
        if options != self.options:
            changed = sorted(
                key
                for key in {*options, *self.options}
                if options.get(key) != self.options.get(key)
            )
            raise InvalidFilterError(
                f"The recording in {self.path.parent} was begun with another "
                f"{' and another '.join(changed)}: go on with the same, or remove {self.path}."
            )

    def get(self, part: str, ask: Callable[[], Json]) -> Json:
        """Give a part; asked for only where it is not done, and then written down."""
        known = self.parts.get(part)
        if known is None:
            known = ask()
            with self._lock:
                self.parts[part] = known
                self._append({"part": part, "found": known})
        return known

    def _append(self, line: Json) -> None:
        if self._file is not None:
            self._file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
            self._file.flush()

    def remove(self) -> None:
        """End the journal: its parts are in the catalogue."""
        self.path.unlink(missing_ok=True)
