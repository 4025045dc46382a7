"""Base of sessions and subjects: values identified by an ID, with namespaces."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from aind_session import extension

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

    from aind_session.lookup.folders import Folder

Owner = TypeVar("Owner", bound="Value")
Answer = TypeVar("Answer")


@functools.total_ordering
class Value:
    """A hashable, ordered value identified by its ID; users may add attributes of their own.

    Equality and order depend on the ID only; a pickle holds the ID and the user's attributes.
    """

    __slots__ = ("__dict__", "__weakref__", "_attribute_errors", "_group", "_id", "_namespaces")

    #: `Session` or `Subject`: values of one kind compare, their subclasses included.
    _kind: ClassVar[type[Value]]
    _id: Any
    #: Namespaces created for this object, by class.
    _namespaces: dict[Any, Any]
    #: IDs of the sessions that a search found together: a loop looks up their records together.
    _group: tuple[str, ...]
    #: AttributeErrors raised by properties, until `__getattr__` raises them.
    _attribute_errors: dict[str, AttributeError]

    def __init__(self, parsed: object) -> None:
        self._id = parsed
        self._namespaces = {}
        self._group = ()

    @property
    def id(self) -> str:
        """The ID."""
        return str(self._id)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, self._kind) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __lt__(self, other: Self) -> bool:
        return self.id < other.id if isinstance(other, self._kind) else NotImplemented

    def __reduce__(self) -> tuple[Any, ...]:
        # Without the namespaces: they are created again where the pickle is loaded.
        return _restore, (type(self), self.id), vars(self) or None

    def __dir__(self) -> list[str]:
        names = {name for name in (*dir(type(self)), *vars(self)) if not name.startswith("_")}
        return sorted(names | set(extension.names(type(self))))

    if not TYPE_CHECKING:
        # Type checkers report unknown attributes; at run time a package may announce them.
        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(name)
            raised = getattr(self, "_attribute_errors", {}).pop(name, None)
            if raised is not None:
                # Python calls this method because a property raised this error.
                raise raised
            return extension.find_plugin(self, name)

    def _repr_html_(self) -> str:
        # An upward import: notebooks call this method on the object itself.
        from aind_session import html

        text: str = getattr(html, f"of_{self._kind.__name__.lower()}")(self)
        return text


def _restore(cls: type[Value], id_: str) -> Value:
    """Create a value from its ID, whatever arguments a subclass's `__init__` takes."""
    made = cls.__new__(cls)
    cls._kind.__init__(made, id_)
    return made


def raises_attribute_error(look: Callable[[Owner], Answer]) -> Callable[[Owner], Answer]:
    """Keep the AttributeError of a property for `__getattr__`, so that it runs only once."""

    @functools.wraps(look)
    def look_up(owner: Owner) -> Answer:
        try:
            return look(owner)
        except AttributeError as error:
            try:
                owner._attribute_errors[look.__name__] = error
            except AttributeError:
                owner._attribute_errors = {look.__name__: error}
            raise

    return look_up


class Downloadable:
    """An object with a folder in S3: a session or a data asset."""

    __slots__ = ()

    def _folder(self) -> Folder:
        raise NotImplementedError

    def download(
        self,
        dest: str | os.PathLike[str],
        pattern: str | None = None,
        modality: str | None = None,
        progress: bool = True,
        overwrite: bool = False,
    ) -> tuple[Path, ...]:
        """Download files from S3 to a local folder: a session's raw files, or those of an asset.

        Each file is written under a temporary name and renamed once its size is right. Files that
        exist with the right size are kept; an interrupted download resumes when it is called again.

        Parameters
        ----------
        dest
            The local folder; paths in it are those below the folder in S3.
        pattern
            A glob that the path below the folder in S3 must match: `"**/*.json"` for every JSON
            file, `"*.json"` for those in its root. None for all files.
        modality
            Only the folder of this modality: `"behavior-videos"`, `"ecephys"`.
        progress
            Show the total size first, and a bar, in a terminal or a notebook.
        overwrite
            Download files again that exist already.

        Returns
        -------
        tuple of pathlib.Path
            The local paths, in the order of the names in S3. If nothing matches, it is empty, and a
            warning is logged.

        Raises
        ------
        InvalidFilterError
            The folder does not have the modality (a `ValueError`); the message lists those it has.
        DownloadError
            Some files could not be downloaded (an `OSError`); the message lists them.
        MissingAttributeError
            There is no folder in S3 (an `AttributeError`).
        CredentialsError, ServiceError
            The folder could not be looked up.

        Examples
        --------
        >>> import aind_session, tempfile
        >>> session = aind_session.Session("ecephys_676909_2023-12-13_13-43-40")
        >>> paths = session.download(tempfile.mkdtemp(), pattern="subject.json")
        >>> [path.name for path in paths]
        ['subject.json']
        """
        from aind_session import download

        folder = self._folder()
        return download.from_folder(folder, dest, pattern, modality, progress, overwrite)
