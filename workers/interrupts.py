"""Why a body has to end before its work is done; each says what becomes of the job."""


class Interrupt(Exception):
    """Base; a body lets it pass."""


class Cancelled(Interrupt):
    """Somebody asked for it: the job ends as cancelled."""


class Draining(Interrupt):
    """The worker is to stop: the job goes back to the queue."""


class Lost(Interrupt):
    """The job is somebody else's by now: nothing may be written for it."""


class DeadlinePassed(Interrupt):
    """It took longer than its kind may: the job fails."""
