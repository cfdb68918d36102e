"""Which body does the work of which kind: an explicit dict, and nothing that registers itself."""

from collections.abc import Callable, Mapping

from service.domain.errors import InvalidInput
from service.domain.jobs import Kind
from workers.analysis import analyse
from workers.claimed import Claimed, Outcome, Settlement
from workers.export import export
from workers.ingest import ingest
from workers.prediction import predict
from workers.replay import replay
from workers.synthesis import synthesize
from workers.training import compare, evaluate, train

# One job in, its outcome out; what it raises becomes the job's end (see `workers.task`).
Body = Callable[[Claimed], Outcome]
# Jobs that share a claim in, one outcome or exception for each of them out, in the same order.
BatchBody = Callable[[list[Claimed]], list[Settlement]]


def selftest(job: Claimed) -> Outcome:
    spec = job.spec
    if spec.get("fault") and not job.settings.allow_fault_injection:
        raise InvalidInput("Faults are not allowed here.", code="fault_not_allowed")
    result, _ = job.runner.call("selftest", spec)
    return Outcome({"steps": result["steps"]})


BODIES: Mapping[Kind, Body] = {
    Kind.COMPARISON: compare,
    Kind.DATASET: ingest,
    Kind.EVALUATION: evaluate,
    Kind.EXPORT: export,
    Kind.PREDICTION: predict,
    Kind.REPLAY: replay,
    Kind.SELFTEST: selftest,
    Kind.SYNTHESIS: synthesize,
    Kind.TRAINING: train,
}
BATCH_BODIES: Mapping[Kind, BatchBody] = {Kind.ANALYSIS: analyse}
