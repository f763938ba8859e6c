"""One recording: a bag, a queue and the thread that empties it. No ROS."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

from finevla.bag import EpisodeWriter
from finevla.contract.episode import EpisodeInfo, RecordedTopic
from finevla.contract.robot import RobotContract
from finevla.errors import BagError
from finevla_system.recorder_run import Ended, How, Progress


class RecordingSession:
    """Takes serialized messages from any thread and writes them from one of its own.

    Args:
        out: Folder of the bags.
        info: Facts of the episode.
        contract: The contract in force.
        topics: What is recorded.
        capacity: Messages that may wait; beyond it messages are dropped and counted.

    Raises:
        BagError: The bag cannot be created.
    """

    def __init__(
        self,
        out: Path,
        info: EpisodeInfo,
        contract: RobotContract,
        topics: tuple[RecordedTopic, ...],
        capacity: int,
    ) -> None:
        self.info = info
        self.dropped: Counter[str] = Counter()
        self.ended: Ended | None = None
        self.over = threading.Event()
        self._writer = EpisodeWriter(out, info, contract, topics)
        self._queue: queue.Queue[tuple[str, int, bytes] | None] = queue.Queue(capacity)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._drain, name="recorder", daemon=True)
        self._thread.start()

    def push(self, topic: str, stamp_ns: int, cdr: bytes) -> None:
        """Queues a message; never blocks."""
        try:
            self._queue.put_nowait((topic, stamp_ns, cdr))
        except queue.Full:
            self.dropped[topic] += 1

    def lost(self, topic: str, count: int) -> None:
        """Notes messages that did not arrive."""
        self.dropped[topic] += count

    def stop(self, outcome: str) -> tuple[Path, dict[str, int]]:
        """Writes what is queued and finishes the bag.

        Returns:
            The bag's directory and the number of messages by topic.

        Raises:
            BagError: The disk refused a message (the bag stays where it grew), or the outcome is unknown.
        """
        info = replace(self.info.labeled(outcome), dropped=dict(self.dropped))
        self._finish()
        if self._error is not None:
            raise self._unwritten(self._error) from self._error
        try:
            return self._writer.close(info), dict(self._writer.counts)
        except OSError as err:
            raise self._unwritten(err) from err

    def discard(self) -> None:
        """Ends the recording and removes it."""
        self._finish()
        self._writer.discard()

    def end(self, how: How, outcome: str = "") -> Ended:
        """Stops the recording, or discards it, and tells those who wait until it is over.

        Raises:
            BagError: As `stop`; those who wait learn of it too.
        """
        ended = Ended(How.FAILED, words="the recording could not be ended")
        try:
            if how is How.DISCARDED:
                self.discard()
                ended = Ended(how)
            else:
                path, counts = self.stop(outcome)
                ended = Ended(how, str(path.absolute()), counts, dict(self.dropped), outcome)
        except BagError as err:
            ended = Ended(How.FAILED, words=str(err))
            raise
        finally:
            self.ended = ended
            self.over.set()
        return ended

    def progress(self) -> Progress:
        """What has been written so far; not to be asked after the end."""
        return Progress(sum(self._writer.counts.values()), self._writer.size(), sum(self.dropped.values()))

    def label(self, outcome: str, note: str) -> None:
        """Judges the running episode.

        Raises:
            BagError: The outcome is unknown.
        """
        self.info = self.info.labeled(outcome, note)

    def _unwritten(self, cause: Exception) -> BagError:
        return BagError(
            "the recording could not be written",
            where=self._writer.path,
            found=cause,
            remedy="check the disk; `finevla convert --repair` saves what was written",
        )

    def _finish(self) -> None:
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _drain(self) -> None:
        while (entry := self._queue.get()) is not None:
            if self._error is not None:
                continue
            try:
                self._writer.write_raw(*entry)
            except (OSError, BagError) as err:
                self._error = err
