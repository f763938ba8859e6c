"""The thread in which inferences run, so that no callback ever waits for one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from finevla.contract import ActionChunk, Observation
from finevla_policy.loop_types import Job

STOP_TIMEOUT_S = 10.0


class PolicyLike(Protocol):
    """What the node needs of a policy; `finevla.policy.inference.Policy` is one."""

    @property
    def checkpoint_id(self) -> str:
        """Name of the bundle."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras that `infer` needs."""

    def check_instruction(self, text: str) -> None:
        """Raises InstructionError where it cannot follow the sentence."""

    def infer(self, observation: Observation, text: str, instruction_id: str) -> ActionChunk:
        """Predicts the chunk that starts at the stamp of the observation."""

    def warm_up(self, repeats: int = 3) -> None:
        """Makes the next inference as fast as all later ones."""


class InferenceWorker:
    """Runs the jobs of the loop one after the other, with the newest policy.

    Args:
        policy: Answers until `swap` replaces it.
        decode: Turns the payload of an image into an RGB array.
        next_job: Returns the next job or None; called in the worker's thread.
        done: Takes job, chunk or error, and the seconds that it took; called in the same thread.
    """

    def __init__(
        self,
        policy: PolicyLike,
        decode: Callable[[Any], NDArray[np.uint8]],
        next_job: Callable[[], Job | None],
        done: Callable[[Job, ActionChunk | Exception, float], None],
    ) -> None:
        self._policy = policy
        self._decode = decode
        self._next_job = next_job
        self._done = done
        self._inferring = threading.Lock()
        self._work = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    @property
    def policy(self) -> PolicyLike:
        """The policy that answers the next job."""
        return self._policy

    def wake(self) -> None:
        """Says that there may be a job."""
        self._work.set()

    def swap(self, policy: PolicyLike) -> None:
        """Lets another policy answer from the next inference on; waits for the one in flight."""
        with self._inferring:
            self._policy = policy

    def stop(self) -> bool:
        """Ends the thread after the inference in flight; false where that one does not come back."""
        self._stop.set()
        self._work.set()
        self._thread.join(STOP_TIMEOUT_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._work.wait()
            self._work.clear()
            while not self._stop.is_set() and (job := self._next_job()) is not None:
                self._answer(job)

    def _answer(self, job: Job) -> None:
        started = time.monotonic()
        answer: ActionChunk | Exception
        try:
            frame = job.frame
            with self._inferring:
                wanted = self._policy.cameras
                images: Mapping[str, NDArray[np.uint8]] = {c: self._decode(frame.images[c]) for c in wanted}
                observation = Observation(frame.stamp_ns, frame.state, images)
                answer = self._policy.infer(observation, job.text, job.instruction_id)
        except Exception as err:  # noqa: BLE001 - whatever fails in a model, the arms must hold and say why
            answer = err
        self._done(job, answer, time.monotonic() - started)


def measure_latency_s(policy: PolicyLike, clock: Callable[[], float] = time.monotonic) -> float:
    """Warms the policy up and returns the best time of five inferences in s.

    The best one, because the budget is about the policy and not about what else runs at start-up.
    """
    policy.warm_up()
    times = []
    for _ in range(5):
        started = clock()
        policy.warm_up(repeats=1)
        times.append(clock() - started)
    return min(times)
