// The state of the box, kept up to date by server-sent events. Connects again by itself, also after a restart of edged.

const SILENCE_MS = 30_000; // edged sends something every 10 s
const RETRY_MS = 1_000;
const FULL_RETRY_MS = 5_000;
const HIDDEN_MS = 5_000; // a browser has six connections for all its pages of a box
const IN_THE_PAGE = ["version", "language", "node"]; // of the box: they decide on scripts, words and titles
const PATIENCE_MS = 5_000; // for a single request
const WAKE_MS = 1_000; // for the first event of a page that is shown again
const FUTURE_S = 10; // more than delays between box and browser explain

// full: not connected, because edged has no room for another page. paused: nothing was heard since the page was hidden.
export const state = { box: null, cameras: new Map(), connected: false, full: false, paused: false, clockOffset: 0 };
const listeners = [];
let source = null;
let heardAt = 0;
let hiddenAt = 0; // 0: it is not
let resting = false; // closed on purpose
let retry = 0; // a timer

/** Call `changed(kind, name)` after each change: kind "box", "camera" (with its name), "connection" or "paused". */
export function follow(changed) {
  listeners.push(changed);
  if (!source) {
    connect();
    setInterval(check, 1_000);
    document.addEventListener("visibilitychange", check);
  }
}

/** Call this each second, for the ages that it shows; not while they would be those of a hidden page. */
export function eachSecond(action) {
  setInterval(() => state.paused || action(), 1_000);
}

/** Seconds since a stamp of the box, by the clock of the box. */
export function ageOf(stamp) {
  return Math.max(0, Date.now() / 1000 + state.clockOffset - stamp);
}

/** True for a stamp that cannot be: the clock of the box was set back since. */
export function isFuture(stamp) {
  return stamp - Date.now() / 1000 - state.clockOffset > FUTURE_S;
}

function connect() {
  clearTimeout(retry);
  source?.close();
  heardAt = Date.now();
  source = new EventSource("/api/events");
  source.addEventListener("box", (event) => heard(event, takeBox));
  source.addEventListener("camera", (event) => heard(event, takeCamera));
  source.addEventListener("ping", (event) => heard(event, takeClock));
  source.addEventListener("error", lost);
}

function heard(event, take) {
  heardAt = Date.now();
  if (state.paused) state.connected = state.paused = false; // for those who may have missed something
  setConnected(true);
  take(JSON.parse(event.data));
}

function takeBox(box) {
  const before = state.box ?? box;
  if (IN_THE_PAGE.some((key) => before[key] !== box[key])) return location.reload();
  takeClock(box);
  state.box = box;
  for (const name of state.cameras.keys()) if (!box.cameras.includes(name)) state.cameras.delete(name);
  tell("box");
}

function takeCamera(camera) {
  state.cameras.set(camera.name, camera);
  tell("camera", camera.name);
}

function takeClock(data) {
  state.clockOffset = data.now_ts - Date.now() / 1000;
}

function disconnected() {
  state.paused = false;
  setConnected(false, state.full);
}

function lost() {
  disconnected();
  source.close(); // its own retry would end at the first answer that is not 200
  retryIn(RETRY_MS);
}

function retryIn(delay) {
  clearTimeout(retry);
  retry = setTimeout(reconnect, delay);
}

/** An EventSource does not say why it failed. Without the token, loading the page again gives the form for it. */
async function reconnect() {
  const refusal = await refusalNow();
  if (resting) return;
  if (refusal === "token") return location.reload();
  setConnected(false, refusal === "full");
  if (refusal) retryIn(FULL_RETRY_MS);
  else connect();
}

async function refusalNow() {
  try {
    const answer = await fetch("/api/events", { method: "HEAD", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (answer.status === 401) return "token";
    return answer.status === 503 && answer.headers.has("Retry-After") ? "full" : null; // without it, a proxy's
  } catch {
    return null;
  }
}

/** A connection that is half open gives no error. */
function check() {
  if (document.hidden) return rest();
  hiddenAt = 0;
  if (resting) {
    resting = false;
    return connect();
  }
  if (state.paused && Date.now() - heardAt >= WAKE_MS) disconnected();
  if (Date.now() - heardAt < SILENCE_MS || source.readyState === EventSource.CLOSED) return;
  lost();
}

/** Leave the connection to pages that somebody can see. */
function rest() {
  hiddenAt ||= Date.now();
  if (resting || Date.now() - hiddenAt < HIDDEN_MS) return;
  resting = state.paused = true;
  clearTimeout(retry);
  source.close();
  tell("paused");
}

function setConnected(connected, full = false) {
  if (state.connected === connected && state.full === full) return;
  Object.assign(state, { connected, full });
  tell("connection");
}

function tell(kind, name) {
  for (const listener of listeners) listener(kind, name);
}
