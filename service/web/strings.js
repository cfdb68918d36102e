// Every sentence the scripts show, in one place, so that languages can be added.

export const RESEARCH_USE = "Research use. Not for diagnosis.";

/** What went wrong and what to do, by problem code; the service's own `detail` is shown besides. */
export const WHAT_TO_DO = {
  offline: "The service does not answer. Check the network; the page goes on trying.",
  unauthenticated: "Sign in again with a valid key. What is on the screen stays.",
  forbidden: "Your key's roles do not allow this. Ask for a key with the clinician role.",
  not_found: "It was removed, or it belongs to somebody else.",
  rate_limited: "Too many requests just now. The page waits and goes on by itself.",
  unavailable: "A part of the service is starting or away. The page waits and goes on by itself.",
  too_large: "Send fewer or smaller files; large collections go in by the command line.",
  unsupported: "Frames are read from JPEG, PNG and TIFF files, or a zip of them.",
  gave_up: "It ended its worker several times. Look for a damaged file among the frames.",
  internal: "Try again; if it stays, give the operator the time and the job's id.",
};
export const TRY_AGAIN = "Try again; if it stays, tell the operator.";

/** Why one frame could not be read. */
export const FRAME_ERRORS = {
  empty: "The file is empty.",
  unknown_format: "It is not a JPEG, PNG or TIFF image.",
  truncated: "The image breaks off before its end.",
  too_large: "The file is over the size limit.",
  too_many_pixels: "The image has more pixels than allowed.",
  animated: "It holds more than one image.",
  unsupported_mode: "Its colour format is not read.",
  corrupt: "The image is damaged.",
  decoder_died: "Reading it ended the decoder.",
  decoder_timeout: "Reading it took too long.",
  too_many_scans: "Its JPEG stream has more scans than allowed.",
  out_of_memory: "Reading it needs more memory than allowed.",
};

export const QUALITY = {
  dark: "dark",
  overexposed: "overexposed",
  blurred: "blurred",
  small_field: "little of the field is seen",
};

export const EVIDENCE = {
  synthetic: "trained on synthetic frames",
  real: "trained on real frames",
  none: "no evidence recorded",
};

export const STATES = {
  queued: "waiting",
  running: "running",
  succeeded: "done",
  failed: "failed",
  cancelled: "cancelled",
};

/** Lines of a job's log: closed codes, the numbers are put behind. */
export const LOG = {
  "state.waiting": "waiting for its parts",
  "state.queued": "waiting for a worker",
  "state.running": "a worker began",
  "state.succeeded": "finished",
  "state.failed": "failed",
  "state.cancelled": "cancelled",
  "state.dead": "gave up",
  cancel_requested: "cancelling was asked for",
};

export const TEXT = {
  signInState: "Sign in with your key to read frames.",
  signingIn: "Signing in …",
  keyRefused: "The service does not know this key: it is mistyped, expired or revoked.",
  expired: "Your key is no longer accepted. Sign in again; what is on the screen stays.",
  intakeState: "No frames chosen: drop images or a zip of them.",
  uploading: (share) => `Uploading: ${share}.`,
  unreadFile: "not an image or a zip: will be reported",
  shownAfter: (kind) => `${kind}: shown after reading`,
  tooManyParts: "More than 1,000 files: put them into one zip.",
  tooManyBytes: "More than 64 MB in one go: send fewer files, or use the command line for large collections.",
  notARole: "Your key may not send frames for reading: ask for one with the clinician role.",
  noModel: "No model is ready: train one, or run the demo.",
  modelNote: (evidence) =>
    `A label counts as found from its threshold on. Model: ${evidence}. Angioectasia is not a class of it.`,
  notAnImageModel: "This model does not read frames.",
  queuedState: "Waiting for a worker.",
  workingState: (part, rest) => `Reading: ${part}${rest}.`,
  cancelledState: "The reading was cancelled.",
  failedState: "The reading failed.",
  unknownState: "This reading could not be opened.",
  loading: "Opening the reading …",
  noRecent: "No readings yet.",
  reconnect: (seconds) => `Trying again in ${seconds} s. Nothing is lost.`,
  noFrames: "No frame matches this filter.",
  belowThreshold: "below threshold",
  mapNegative: "No map: nothing is above its threshold in this frame.",
  mapUnreadable: "No map: this frame was not read.",
  mapScale: (label) => `${label}, log-odds per 1 % of frame`,
  mapPoor: (share) => `Map and bracket are hidden: the peak fell inside the lesion in only ${share} of test frames.`,
  mapMeasured: (share, n) => `Map peak inside the lesion: ${share} of ${n} test frames.`,
  mapUnmeasured: "Map quality: not measured.",
  pictureLost: "The picture could not be fetched.",
  angioectasia: "Angioectasia is not a class of this model: no mark here says nothing about it.",
  notRead: "Not read",
  noFlags: "no quality flags",
  notMeasured: "not measured",
  notStated: "not stated",
  cancelling: "cancelling was asked for",
};
