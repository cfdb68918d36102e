// Every sentence the scripts show, in one place, so that languages can be added.

export const RESEARCH_USE = "Research use. Not for diagnosis.";

const ASK = "Try again; if it stays, give the operator the time and the job's id.";
const WAIT = "The page waits and goes on by itself.";
const CHOOSE = "Choose again from what is offered; another person may have changed it meanwhile.";
const RELOAD = "Reload the page; it may be older than the service.";
const COMMAND_LINE = "This page does not do that: see the message of the command line.";
const ZIP = "Make the zip anew, or send the images themselves.";
const FILES = "Frames are read from JPEG, PNG and TIFF files, or a zip of them.";

/** What to do, by problem code (`offline` is the page's own); the service's own `detail` is shown besides. */
export const WHAT_TO_DO = {
  offline: "The service does not answer. Check the network; the page goes on trying.",

  // Who may do what.
  unauthenticated: "Sign in again with a valid key. What is on the screen stays.",
  forbidden: "Your key's roles do not allow this. Ask for a key with the clinician role.",
  not_found: "It was removed, or it belongs to somebody else.",
  not_made: "It is being made, which takes a minute after a version is new. If it stays, an engineer can have it made: `enteron model report`.",

  // A part is away: tried again by the page.
  rate_limited: `Too many requests just now. ${WAIT}`,
  database_unavailable: `The database is starting or away. ${WAIT}`,
  object_store_unavailable: `The store of images is away. ${WAIT}`,
  storage_full: "The store of images is full: the operator has to make room.",
  not_migrated: "The service is being updated. Try again in a minute.",
  body_too_slow: "The connection is too slow for this many frames in one go: send fewer.",

  // What was sent.
  too_large: "Send fewer or smaller files; large collections go in by the command line.",
  unsupported: FILES,
  content_encoding: FILES,
  invalid_multipart: ASK,
  unknown_operating_point: CHOOSE,
  unknown_model: CHOOSE,
  unknown_version: CHOOSE,
  no_evaluation: CHOOSE,
  model_refused: "This version cannot read these frames: choose another model.",
  idempotency_key_reused: "Remove a file and add it again, then send once more.",
  invalid_transition: "The job has ended meanwhile: open it again to see how.",

  // Of a zip as a whole; nothing of it is read.
  not_a_zip: ZIP,
  damaged_zip: ZIP,
  forged_size: ZIP,
  overlapping_members: ZIP,
  duplicate_name: ZIP,
  special_file: ZIP,
  unsafe_name: ZIP,
  unsupported_compression: ZIP,
  encrypted: "The zip is encrypted: send one without a password.",
  too_many_members: "Send the frames in several zips.",
  compression_ratio: "The zip unpacks to far more than frames do: send the images themselves.",

  // Requests that this page does not make by itself.
  invalid_input: RELOAD,
  invalid_json: RELOAD,
  invalid_text: RELOAD,
  invalid_cursor: RELOAD,
  bad_request: RELOAD,
  method_not_allowed: RELOAD,
  headers_too_large: RELOAD,
  too_many_ranges: RELOAD,
  already_there: COMMAND_LINE,
  dataset_not_ready: COMMAND_LINE,
  repeated_dataset: COMMAND_LINE,
  faults_off: COMMAND_LINE,
  not_in_catalogue: COMMAND_LINE,
  not_read: COMMAND_LINE,
  not_safetensors: COMMAND_LINE,
  nothing_to_roll_back: COMMAND_LINE,
  shared: COMMAND_LINE,
  shown_once: COMMAND_LINE,
  spec_invalid: COMMAND_LINE,
  unknown_dataset: COMMAND_LINE,
  unknown_file: COMMAND_LINE,
  worse_than_champion: COMMAND_LINE,

  // Mistakes of the service, and jobs that ended.
  internal_error: ASK,
  object_missing: ASK,
  object_corrupt: "The stored image is damaged: read the original file again, and tell the operator.",
  gave_up: "It ended its worker several times. Look for a damaged file among the frames.",
  deadline: "Send fewer frames in one go.",
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
  corrupt_member: "It is damaged inside its zip.",
  unreadable_member: "It is packed in its zip in a way that is not read.",
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
    `A label counts as found from its threshold on. Model: ${evidence}; it does not look for angioectasia.`,
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
  off: "off",
  labelOff: "off at this operating point: not measured on real frames",
  belowThreshold: ", below threshold",
  mapNegative: "No map: nothing is above its threshold in this frame.",
  mapUnreadable: "No map: this frame was not read.",
  mapScale: (label, kind) => (kind === "probability" ? `${label}, probability of such a place` : `${label}, log-odds per 1 % of frame`),
  mapScaleEnd: (kind) => (kind === "probability" ? "100 %" : "0.5+"),
  mapFaint: (label) => `No colour: no single place speaks for ${label}, the evidence is spread over the whole frame.`,
  mapPoor: (share) => `Map and bracket are hidden: the peak fell inside the lesion in only ${share} of test frames.`,
  mapMeasured: (share, n) => `Map peak inside the lesion: ${share} of ${n} test frames.`,
  mapUnmeasured: "Map quality: not measured.",
  pictureLost: "The picture could not be fetched.",
  angioectasia: "Angioectasia is not a class of this model: a frame without marks may still show one.",
  notRead: "Not read",
  noFlags: "no quality flags",
  notMeasured: "not measured",
  notStated: "not stated",
  notRecorded: "not recorded",
  cancelling: "cancelling was asked for",
};
