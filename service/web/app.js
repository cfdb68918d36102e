// The page's composition root: who is signed in, which screen is shown, what is said at the top.

import { Api } from "./api.js";
import { announce, byId } from "./dom.js";
import { Intake } from "./intake.js";
import { JobScreen } from "./job.js";
import { listenToKeys } from "./keys.js";
import { Problem } from "./problems.js";
import { Reading } from "./reading.js";
import { showTrouble, tell } from "./says.js";
import { TEXT } from "./strings.js";

const SCREENS = ["signin", "intake", "job", "reading"];

let api = null;
let person = null; // who signed in last, also after their key was refused
let left = new AbortController(); // aborted when a screen is left

const intake = new Intake();
const job = new JobScreen();
const reading = new Reading();

function show(screen) {
  for (const name of SCREENS) byId(`screen-${name}`).hidden = name !== screen;
  document.body.dataset.screen = screen;
  byId("filters").hidden = byId("exports").hidden = screen !== "reading";
  for (const element of document.querySelectorAll(".signed-in")) element.hidden = api === null;
}

/** `#/` new reading, `#/jobs/<id>`, `#/analyses/<id>`: addresses hold ids only, never names. */
async function route() {
  left.abort();
  left = new AbortController();
  const { signal } = left;
  const [, noun, id] = /^#\/(jobs|analyses)\/([\w-]+)$/.exec(location.hash) ?? [];
  if (!api) return askForKey(TEXT.signInState);
  try {
    if (noun === "jobs") {
      show("job");
      await job.open(api, id, signal);
    } else if (noun === "analyses") {
      tell(TEXT.loading);
      show("reading");
      await reading.open(api, id, signal);
    } else {
      show("intake");
      await intake.open(api, signal);
    }
  } catch (error) {
    if (signal.aborted) return;
    tell(noun ? TEXT.unknownState : TEXT.intakeState);
    showTrouble(error);
    if (!(error instanceof Problem)) throw error;
  }
}

function askForKey(sentence) {
  show("signin");
  tell(sentence);
  byId("key").focus();
}

async function signIn(event) {
  event.preventDefault();
  const field = byId("key");
  const mine = new Api(field.value.trim(), {
    trouble: (trouble) => showTrouble(trouble?.problem ?? null, trouble?.retryInS),
    refused: () => api === mine && expire(),
  });
  byId("signin-error").textContent = "";
  tell(TEXT.signingIn);
  try {
    welcome(mine, await mine.me());
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    tell(TEXT.signInState);
    byId("signin-error").textContent = error.status === 401 ? TEXT.keyRefused : error.message;
    field.select();
  }
}

function welcome(signedIn, me) {
  if (person !== null && person !== me.principal_id) intake.clear(); // what one chose is not shown to the next
  person = me.principal_id;
  api = signedIn;
  byId("key").value = "";
  byId("who").textContent = me.name ?? me.roles.join(", ");
  byId("who").title = me.roles.join(", ");
  intake.mayRead = me.permissions.includes("frames:write");
  announce(`Signed in as ${byId("who").textContent}.`);
  route();
}

/** A refused key in the middle of work: ask for one, keep what was chosen and opened. */
function expire() {
  api = null;
  left.abort();
  showTrouble(null);
  askForKey(TEXT.expired);
}

function signOut() {
  location.hash = "#/";
  location.reload(); // the surest way to leave nothing of a patient in memory
}

byId("signin").addEventListener("submit", signIn);
byId("sign-out").addEventListener("click", signOut);
byId("help").addEventListener("click", toggleHelp);
addEventListener("hashchange", route);
listenToKeys({ reading, toggleHelp, isReading: () => document.body.dataset.screen === "reading" });
route();

function toggleHelp() {
  const panel = byId("help-panel");
  panel.hidden = !panel.hidden;
  byId("help").setAttribute("aria-expanded", String(!panel.hidden));
}
