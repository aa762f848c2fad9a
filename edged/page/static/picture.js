// The last analysed picture of a camera, with its age. One that is not current is grey and says why.
import { el, setText } from "./dom.js";
import { ageOf, isFuture, state } from "./live.js";
import { duration, words } from "./words.js";

const LATE_S = 10; // a look that comes this much later is nothing special
const RETRY_MS = 3_000;
const WITHOUT = ["camera_down", "stale_frame"]; // statuses of a look that got no picture

/** Why this picture must not pass for the camera's present: {text, reason, level}; null if it may. */
export function whyNotCurrent(camera, frame) {
  if (!state.connected) return { text: state.full ? words.full : words.disconnected, reason: "", level: "bad" };
  if (!camera.active) return { text: words.paused, reason: "", level: "" };
  const { availability } = camera;
  if (availability && !availability.online) {
    return { text: words.cameraDown, reason: availability.reason ?? "", level: "bad" };
  }
  const newest = newestAnswer(camera);
  if (WITHOUT.includes(newest?.status) && !(frame?.ts > newest.answered_ts)) {
    return { text: words.status[newest.status], reason: newest.reason ?? "", level: "bad" };
  }
  return frame ? whyOld(camera, frame) : { text: words.noPicture, reason: "", level: "" };
}

function whyOld(camera, frame) {
  if (isFuture(frame.ts)) return { text: words.noNewPicture, reason: words.clockChanged, level: "bad" };
  const asked = camera.questions.filter((question) => !question.paused);
  const age = ageOf(frame.ts);
  if (!asked.length) return { text: words.paused, reason: "", level: "" };
  const every = Math.min(...asked.map((question) => question.every_s));
  if (age <= 2 * every + LATE_S) return null;
  if (state.box?.off_hours.includes(camera.name)) return { text: words.offHours, reason: "", level: "" };
  return { text: words.noNewPicture, reason: words.overdue(duration(age), duration(every)), level: "bad" };
}

function newestAnswer(camera) {
  const answers = camera.questions.map((question) => question.answer).filter(Boolean);
  const stamped = answers.filter((answer) => answer.status !== "not_asked" && !isFuture(answer.answered_ts));
  return stamped.reduce((newest, each) => (newest && newest.answered_ts >= each.answered_ts ? newest : each), null);
}

/** {element, update(camera)}. A new picture takes the place of the old one when it has been loaded. */
export function pictureView() {
  let shown = null; // the frame of `image`
  let image = null;
  let loading = "";
  let newest = null; // the camera
  const age = el("span", { class: "picture-age numbers", "aria-hidden": "true" });
  const text = el("strong");
  const reason = el("span", { class: "small" });
  const veil = el("p", { class: "veil" }, text, reason);
  const element = el("div", { class: "picture" }, veil, age);
  return { element, update, frame: () => shown };

  function update(camera) {
    newest = camera;
    load(camera);
    const why = whyNotCurrent(camera, shown);
    element.classList.toggle("not-current", why !== null);
    veil.hidden = why === null;
    veil.className = `veil ${why?.level ?? ""}`;
    setText(text, why?.text ?? "");
    setText(reason, why?.reason ?? "");
    setText(age, shown && !isFuture(shown.ts) ? words.pictureAge(duration(ageOf(shown.ts))) : "");
    age.hidden = !age.textContent;
  }

  function load(camera) {
    const { frame, name, title } = camera;
    if (!frame) return forget();
    if (shown?.sha256 === frame.sha256) [shown, loading] = [frame, ""]; // the same picture, seen again
    if (frame.sha256 === loading || shown === frame) return;
    loading = frame.sha256;
    const { width, height } = frame;
    const next = el("img", { width, height, alt: words.pictureOf(title) });
    next.addEventListener("load", () => loading === frame.sha256 && show(next, frame));
    next.addEventListener("error", () => setTimeout(() => loading === frame.sha256 && (loading = ""), RETRY_MS));
    next.src = `/api/frame/${name}.jpg?sha256=${frame.sha256}`;
  }

  function show(next, frame) {
    if (image) image.replaceWith(next);
    else element.prepend(next);
    [image, shown, loading] = [next, frame, ""];
    element.style.aspectRatio = `${Math.max(frame.width / frame.height, 1)}`;
    update(newest); // its age, and whether it is current, appear with it
  }

  /** The pictures of the camera have changed, for example its masks. */
  function forget() {
    image?.remove();
    [image, shown, loading] = [null, null, ""];
  }
}
