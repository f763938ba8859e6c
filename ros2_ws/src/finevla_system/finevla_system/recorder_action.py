"""The action RecordEpisode: one recording from its start to its end, on the recorder's own two paths."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import Protocol

from diagnostic_msgs.msg import DiagnosticArray
from finevla_msgs.action import RecordEpisode
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.context import Context
from rclpy.impl.rcutils_logger import RcutilsLogger

from finevla.contract.episode import RecordedTopic
from finevla.contract.services import RECORDER_RECORD
from finevla.errors import FineVLAError
from finevla_system.recorder_convert import problems
from finevla_system.recorder_run import Ended, How, RecordRun
from finevla_system.recorder_session import RecordingSession

POLL_PERIOD_S = 0.1
WHOLE = {How.MAX_DURATION, How.STOPPED}
"""Ends after which the goal has succeeded: somebody wanted it to end, and the bag is kept."""


class Recorder(Protocol):
    """What the action needs of the recorder node."""

    context: Context
    topics: tuple[RecordedTopic, ...]
    session: RecordingSession | None
    told: DiagnosticArray

    def held(self) -> AbstractContextManager[None]:
        """Holds everybody else off; what was published before is taken first."""

    def begin(self, episode_id: str, instruction: str) -> RecordingSession:
        """Starts a recording; raises `BagError`."""

    def end(self, how: How, outcome: str = "") -> Ended:
        """Ends the running recording; raises `BagError`."""

    def get_logger(self) -> RcutilsLogger:
        """The node's log."""


class RecordAction:
    """Serves the action in threads of its own: services and timers go on meanwhile.

    Args:
        recorder: The recorder node.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._server = ActionServer(
            recorder,
            RecordEpisode,
            RECORDER_RECORD,
            self._on_goal,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )

    def _on_goal(self, goal: ServerGoalHandle) -> RecordEpisode.Result:
        """Runs in a thread of its own until the recording is over."""
        request = goal.request
        try:
            with self._recorder.held():
                run = RecordRun(request.max_duration_s, time.monotonic_ns)
                session = self._recorder.begin(request.episode_id, request.instruction)
                run.begin()
        except FineVLAError as err:
            self._recorder.get_logger().error(str(err))
            ended = Ended(How.REFUSED, words=str(err))
        else:
            ended = self._wait(goal, run, session)
        if self._recorder.context.ok():
            if ended.how is How.CANCELED:
                goal.canceled()
            else:
                (goal.succeed if ended.how in WHOLE else goal.abort)()
        return self._result(ended)

    def _wait(self, goal: ServerGoalHandle, run: RecordRun, session: RecordingSession) -> Ended:
        while not session.over.wait(max(min(POLL_PERIOD_S, run.left_s), 0.0)):
            if not self._recorder.context.ok():
                return Ended(How.SHUT_DOWN)  # the node keeps what was recorded; nobody hears of it
            if goal.is_cancel_requested:
                run.cancel()
            if run.wish is not None:
                self._stop(session, run.wish)
            elif run.feedback_due():
                self._tell(goal, run, session)
        return session.ended or Ended(How.FAILED)

    def _stop(self, session: RecordingSession, how: How) -> None:
        with self._recorder.held():
            if self._recorder.session is session:  # else somebody was faster
                try:
                    self._recorder.end(how)
                except FineVLAError as err:
                    self._recorder.get_logger().error(str(err))  # and the session holds it as its end

    def _tell(self, goal: ServerGoalHandle, run: RecordRun, session: RecordingSession) -> None:
        with self._recorder.held():
            if self._recorder.session is not session:
                return
            try:
                progress = session.progress()
            except OSError as err:  # somebody removed the growing bag; its end will say so
                self._recorder.get_logger().warning(f"{session.info.episode_id} cannot be looked at: {err}")
                return
        feedback = RecordEpisode.Feedback(
            elapsed_s=run.elapsed_s,
            messages=progress.messages,
            bytes=progress.bytes,
            lost=progress.lost,
            problems=problems(self._recorder.told),
        )
        goal.publish_feedback(feedback)

    def _result(self, ended: Ended) -> RecordEpisode.Result:
        return RecordEpisode.Result(
            ended=getattr(RecordEpisode.Result, ended.how.name),
            success=ended.success,
            path=ended.path,
            messages=ended.messages,
            outcome=ended.outcome,
            message=ended.message(self._recorder.topics),
        )
