"""The same sandbox without pytest's fixtures."""

from __future__ import annotations

import unittest

import aind_session.testing
import sorting_queue


class TestQueue(unittest.TestCase):
    """One session, invented."""

    def setUp(self) -> None:
        """Serve an empty catalogue until the test is over."""
        self.box = aind_session.testing.sandbox("empty")
        self.addCleanup(self.box.close)
        self.box.__enter__()

    def test_it_waits(self) -> None:
        """A session without sortings waits."""
        self.box.add_session("ecephys_999903_2024-01-01_10-00-00")
        assert len(sorting_queue.look_at(999903).waiting) == 1
