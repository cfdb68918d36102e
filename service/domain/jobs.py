"""What a job is: its states, the moves between them, and which queue and task each kind belongs to.

The table below is the only statement of the rules: `store/claims.py`, `due.py` and `jobs.py` apply it by
compare-and-set (the worker's, dispatcher's and client's moves), the migration's trigger and CHECKs mirror it,
and one test compares the three.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from service.domain.media import ARCHIVE


class State(StrEnum):
    WAITING = "waiting"  # a parent whose children are not all final
    QUEUED = "queued"  # may be dispatched once `run_after` is past
    RUNNING = "running"  # claimed: holds a fence, a claim token and a lease
    SUCCEEDED = "succeeded"  # one result, accepted under the final fence
    FAILED = "failed"  # the input or the work is at fault; running it again would fail again
    CANCELLED = "cancelled"  # somebody asked for it, and no result was accepted before
    DEAD = "dead"  # it ended its worker `max_failures` times; shown as failed with code `gave_up`


FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.DEAD})


class Move(StrEnum):
    CLAIM = "claim"
    SUCCEED = "succeed"
    FAIL = "fail"
    RELEASE = "release"  # drain: back to the queue, a preemption and no failure
    RETRY = "retry"  # a dependency was away: back to the queue with back-off
    EXPIRE = "expire"  # the lease ran out: the reaper puts it back
    GIVE_UP = "give_up"  # ... for the last time
    CANCEL = "cancel"
    CHILDREN_DONE = "children_done"


TRANSITIONS: dict[Move, tuple[frozenset[State], State]] = {
    Move.CLAIM: (frozenset({State.QUEUED}), State.RUNNING),
    Move.SUCCEED: (frozenset({State.RUNNING}), State.SUCCEEDED),
    Move.FAIL: (frozenset({State.RUNNING}), State.FAILED),
    Move.RELEASE: (frozenset({State.RUNNING}), State.QUEUED),
    Move.RETRY: (frozenset({State.RUNNING}), State.QUEUED),
    Move.EXPIRE: (frozenset({State.RUNNING}), State.QUEUED),
    Move.GIVE_UP: (frozenset({State.RUNNING}), State.DEAD),
    Move.CANCEL: (frozenset({State.WAITING, State.QUEUED, State.RUNNING}), State.CANCELLED),
    Move.CHILDREN_DONE: (frozenset({State.WAITING}), State.QUEUED),
}


class Queue(StrEnum):
    INTERACTIVE = "interactive"
    BATCH = "batch"
    TRAIN = "train"
    EHR = "ehr"


class Kind(StrEnum):
    ANALYSIS = "analysis"
    REPLAY = "replay"  # of an analysis: the same bits again, or where not
    PREDICTION = "prediction"
    DATASET = "dataset"
    TRAINING = "training"
    COMPARISON = "comparison"  # several trainings whose result is a table, and no version
    EVALUATION = "evaluation"
    EXPORT = "export"  # files of a model version: card, report, ONNX, MONAI bundle
    SYNTHESIS = "synthesis"
    SELFTEST = "selftest"  # counts to n in the runner: what `enteron doctor` and the fault tests submit


@dataclass(frozen=True)
class KindRules:
    """How jobs of one kind are run; times in seconds."""

    queue: Queue
    stall_s: float  # a runner that reports nothing for so long is ended
    wall_s: float  # a job that takes longer is failed with `deadline`
    batched: bool = False  # interactive jobs of one model version share a claim
    fresh_runner: bool = False  # nothing of an earlier job may be left in the process


KINDS: dict[Kind, KindRules] = {
    Kind.ANALYSIS: KindRules(Queue.BATCH, stall_s=120, wall_s=6 * 3600, batched=True),
    Kind.REPLAY: KindRules(Queue.BATCH, stall_s=120, wall_s=6 * 3600),
    Kind.PREDICTION: KindRules(Queue.BATCH, stall_s=300, wall_s=6 * 3600),
    Kind.DATASET: KindRules(Queue.BATCH, stall_s=300, wall_s=6 * 3600),
    Kind.TRAINING: KindRules(Queue.TRAIN, stall_s=900, wall_s=14 * 86400, fresh_runner=True),
    Kind.COMPARISON: KindRules(Queue.TRAIN, stall_s=900, wall_s=14 * 86400, fresh_runner=True),
    Kind.EVALUATION: KindRules(Queue.TRAIN, stall_s=900, wall_s=24 * 3600),
    # Plots and exporters stay in a process once they are imported, and no reading needs them.
    Kind.EXPORT: KindRules(Queue.BATCH, stall_s=600, wall_s=3600, fresh_runner=True),
    Kind.SYNTHESIS: KindRules(Queue.BATCH, stall_s=120, wall_s=3600, fresh_runner=True),
    Kind.SELFTEST: KindRules(Queue.INTERACTIVE, stall_s=30, wall_s=600),
}

TASKS: dict[Queue, str] = {queue: f"enteron.{queue.value}" for queue in Queue}

MAX_FAILURES = 3  # the default of the job table
INTERACTIVE_FRAMES = 16  # an analysis with more frames goes to the batch queue


def is_interactive(media_types: Sequence[str]) -> bool:
    """Whether an analysis of such parts is read at once, with other people's, or by itself in blocks."""
    return len(media_types) <= INTERACTIVE_FRAMES and ARCHIVE not in media_types


@dataclass(frozen=True)
class Timers:
    """Seconds; the defaults bound the re-run of a dead worker's job to 45 s."""

    lease_s: float = 30.0
    reap_every_s: float = 5.0
    redispatch_s: float = 30.0
    cancel_grace_s: float = 5.0  # for a runner to end its step before it is killed
    drain_grace_s: float = 20.0  # ... for a block or a checkpoint

    @property
    def beat_s(self) -> float:
        return self.lease_s / 4


def backoff_s(attempt: int) -> float:
    """1, 2, 4 ... at most 60 seconds before the given repeat (1-based) of a job."""
    return float(min(60, 2 ** max(0, attempt - 1)))
