// What the page /label shows: the frame, the question, the answer that was given, and the ways to judge it.
import { valueText } from "./answer.js";
import { el } from "./dom.js";
import { words } from "./words.js";

const place = document.getElementById("label");

/** The answer that is asked about. `say` is called with what the person says. */
export function show(state, say) {
  const { task } = state;
  const answer = task.answers[0];
  replace(
    progress(state.progress),
    el("div", { class: "label" },
      picture(task),
      el("section", { class: "label-card", "aria-label": words.labelQuestion },
        about(task),
        el("h1", { tabindex: -1 }, answer.question),
        el("p", { class: "label-prompt" }, answer.prompt),
        answer.region && el("p", { class: "muted" }, words.labelRegion(answer.region)),
        given(answer),
        verdicts(answer, say),
        truth(answer, say),
        problem())));
}

/** Why nobody can have seen the frame; null if it is shown. */
export function pictureProblem() {
  const image = place.querySelector(".label-picture");
  if (isLoaded(image)) return null;
  return image?.complete ? words.labelPictureFailed : words.labelWait;
}

/** An image that failed is complete, too. */
function isLoaded(image) {
  return Boolean(image?.complete && image.naturalWidth);
}

export function showNothing(state, say) {
  const text = state.progress.kept ? words.labelDone : state.keeps ? words.labelNoneYet : words.labelOff;
  replace(el("div", {},
    state.progress.kept ? progress(state.progress) : null,
    el("p", { class: "label-end", tabindex: -1 }, text),
    state.progress.labels ? button(words.labelUndo, "U", () => say({ undo: true })) : null,
    problem()));
}

/** The focus stays on the control with the same key, or goes to where the new content begins: a field would take the keys. */
function replace(...content) {
  const focused = place.contains(document.activeElement) ? document.activeElement : null;
  const key = focused?.getAttribute("aria-keyshortcuts");
  place.replaceChildren(...content);
  if (!focused) return;
  const same = key && place.querySelector(`[aria-keyshortcuts="${key}"]:enabled`);
  (same || place.querySelector("h1, .label-end")).focus({ preventScroll: true });
}

export function showProblem(text) {
  if (!document.getElementById("problem")) place.replaceChildren(problem());
  const shown = document.getElementById("problem");
  shown.hidden = false;
  shown.textContent = text;
}

function problem() {
  return el("p", { id: "problem", class: "notice bad", role: "alert", hidden: true });
}

function progress({ kept, labelled }) {
  const text = words.labelProgress(labelled, kept);
  return el("div", { class: "label-progress" },
    el("progress", { max: Math.max(kept, 1), value: labelled, "aria-label": text }),
    el("span", {}, text));
}

/** The next question about a frame keeps the picture if it is loaded. */
function picture(task) {
  const src = `/api/label/${task.frame}`;
  const before = place.querySelector(".label-picture");
  if (before?.getAttribute("src") === src && isLoaded(before)) return before;
  const taken = new Date(task.ts * 1000).toLocaleString(document.documentElement.lang);
  return el("img", { class: "label-picture", src, alt: words.labelPicture(task.camera, taken) });
}

function about(task) {
  const taken = new Date(task.ts * 1000).toLocaleString(document.documentElement.lang);
  const number = task.of - task.answers.length + 1;
  return el("p", { class: "muted" },
    el("a", { href: `/camera/${task.camera}` }, task.camera),
    `, ${taken}. ${words.labelWhy[task.why]}. ${words.labelOf(number, task.of)}`);
}

function given(answer) {
  const value = answer.guess === null ? words.labelNoValue : shown(answer.guess, answer);
  const confidence = answer.confidence === null ? null : words.labelConfidence(Math.round(answer.confidence * 100));
  const status = answer.status === "ok" ? null : `${words.status[answer.status] ?? answer.status}: ${answer.reason ?? ""}`;
  return el("div", { class: "label-given" },
    el("span", { class: "muted" }, words.labelGiven),
    el("strong", { id: "given" }, value),
    confidence && el("span", { class: "muted" }, confidence),
    status && el("span", { class: "label-status" }, status));
}

function verdicts(answer, say) {
  return el("div", { class: "label-buttons" },
    button(words.verdicts.right, "R", () => say({ verdict: "right" }), { class: "good", disabled: answer.guess === null }),
    button(words.verdicts.wrong, "W", () => say({ verdict: "wrong" }), { class: "bad" }),
    button(words.verdicts.skip, "S", () => say({ verdict: "skip" })),
    button(words.labelUndo, "U", () => say({ undo: true })));
}

function truth(answer, say) {
  const options = truthOptions(answer);
  if (options) {
    const buttons = options.map(([label, value, key]) => button(label, key, () => say({ truth: value })));
    return el("fieldset", { class: "label-buttons" }, el("legend", {}, words.labelTruth), buttons);
  }
  const input = answer.type === "json" ? el("textarea", { id: "truth", rows: 4 }) : el("input", inputOf(answer));
  return el("form", { class: "label-truth", onsubmit: (event) => submit(event, answer, input, say) },
    el("label", { for: "truth" }, words.labelTruth), input, el("button", {}, words.labelSave));
}

function truthOptions(answer) {
  if (answer.type === "yes_no") return [[answer.form.words[0], true, "Y"], [answer.form.words[1], false, "N"]];
  if (answer.type === "choices") return answer.form.choices.map(([label, value], place) => [label, value, place < 9 ? String(place + 1) : ""]);
  return null;
}

function inputOf(answer) {
  if (answer.type === "text") return { id: "truth", type: "text", maxlength: 2000, autocomplete: "off" };
  const [low, high] = answer.form.range;
  return { id: "truth", type: "text", inputmode: "decimal", autocomplete: "off", size: 8, placeholder: low === null ? null : `${low}-${high ?? ""}` };
}

function submit(event, answer, input, say) {
  event.preventDefault();
  const text = input.value.trim();
  const value = answer.type === "text" ? text : parsed(text);
  if (value === undefined || text === "") return showProblem(words.labelNotAValue);
  say({ truth: value });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function shown(value, { type, form }) {
  const choices = form.choices?.map(([label, each]) => ({ label, value: each }));
  return valueText({ type, words: form.words, choices }, value);
}

function button(text, key, action, more = {}) {
  return el("button", { type: "button", onclick: action, "aria-keyshortcuts": key || null, ...more },
    text, key && el("kbd", { "aria-hidden": "true" }, key));
}
