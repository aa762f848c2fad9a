// The state of the box, kept up to date by server-sent events. Connects again by itself, also after a restart of edged.

const SILENCE_MS = 30_000; // edged sends something every 10 s
const RETRY_MS = 1_000;
const IN_THE_PAGE = ["version", "language", "node"]; // of the box: they decide on scripts, words and titles
const PATIENCE_MS = 5_000; // for a single request
const FUTURE_S = 10; // more than delays between box and browser explain

export const state = { box: null, cameras: new Map(), connected: false, clockOffset: 0 };
const listeners = [];
let source = null;
let heardAt = 0;

/** Call `changed(kind, name)` after each change: kind "box", "camera" (with its name) or "connection". */
export function follow(changed) {
  listeners.push(changed);
  if (!source) {
    connect();
    setInterval(check, 1_000);
    document.addEventListener("visibilitychange", check);
  }
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
  heardAt = Date.now();
  source = new EventSource("/api/events");
  source.addEventListener("box", (event) => heard(event, takeBox));
  source.addEventListener("camera", (event) => heard(event, takeCamera));
  source.addEventListener("ping", (event) => heard(event, takeClock));
  source.addEventListener("error", lost);
}

function heard(event, take) {
  heardAt = Date.now();
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

function lost() {
  setConnected(false);
  source.close(); // its own retry would end at the first answer that is not 200
  setTimeout(reconnect, RETRY_MS);
}

/** An EventSource does not say why it failed. Without the token, loading the page again gives the form for it. */
async function reconnect() {
  if (await isRefused()) location.reload();
  else connect();
}

async function isRefused() {
  try {
    const answer = await fetch("/api/events", { method: "HEAD", signal: AbortSignal.timeout(PATIENCE_MS) });
    return answer.status === 401;
  } catch {
    return false;
  }
}

/** A connection that is half open gives no error. */
function check() {
  if (Date.now() - heardAt < SILENCE_MS || source.readyState === EventSource.CLOSED) return;
  lost();
}

function setConnected(connected) {
  if (state.connected === connected) return;
  state.connected = connected;
  tell("connection");
}

function tell(kind, name) {
  for (const listener of listeners) listener(kind, name);
}
