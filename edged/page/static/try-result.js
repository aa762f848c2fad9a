// The answer to a prompt that was tried: value, confidence, picture, tokens, and the lines for the config.
import { copyButton } from "./copy.js";
import { el } from "./dom.js";
import { tokensView } from "./try-tokens.js";
import { percent, words } from "./words.js";

/** An element for an answer of edged about the camera of this name. `frame` has the size of its pictures. */
export function resultView(answer, name, frame, file) {
  return el("div", { class: "try-answer" },
    el("div", { class: "try-told" },
      el("h3", {}, words.trying.answer),
      valueOf(answer),
      answer.confidence === null ? null : el("p", { class: "numbers" }, words.trying.confidence(percent(answer.confidence))),
      el("p", { class: "muted small" }, words.trying.asked(answer.prompt)),
      el("p", { class: "muted small numbers" }, timing(answer.timing_ms))),
    pictureOf(answer, name, frame),
    answer.tokens.length ? tokensView(answer.tokens) : null,
    linesOf(answer, name, file));
}

/** The value as people say it, or why there is none. */
export function answerText(answer) {
  if (answer.status !== "ok") return words.status[answer.status];
  if (answer.type === "json") return JSON.stringify(answer.value, null, 2);
  return ["yes_no", "choices"].includes(answer.type) ? answer.text : String(answer.value);
}

function valueOf(answer) {
  const cut = answer.truncated && answer.status === "ok" && el("span", { class: "badge warn" }, words.truncated);
  const level = answer.status === "ok" ? answer.type : answer.status === "unsure" ? "warn" : "bad";
  return el("div", { class: "try-value" },
    el("p", { class: `value ${level}`, id: "try-value" }, answerText(answer)), cut || null,
    answer.reason && el("p", { class: "small" }, answer.reason));
}

function timing({ grab, encode, answer }) {
  const parts = [grab, encode, answer].map((ms) => (ms === null ? "–" : words.trying.milliseconds(ms)));
  return words.trying.timing(...parts);
}

/** The frame that was asked about. Another one must not stand for it: edged has only the newest that was tried. */
function pictureOf(answer, name, frame) {
  if (!answer.frame_sha256) return null;
  const gone = el("p", { class: "muted small", hidden: true }, words.trying.pictureGone);
  const image = el("img", {
    src: `/api/frame/${name}.jpg?tried=${answer.frame_sha256}`, alt: words.trying.picture,
    width: frame?.width, height: frame?.height, onerror: missing,
  });
  return el("figure", { class: "try-picture" }, image, gone,
    answer.region && el("figcaption", { class: "muted small" }, words.trying.ofRegion(answer.region)));

  function missing() {
    image.remove();
    gone.hidden = false;
  }
}

function linesOf(answer, name, file) {
  if (answer.yaml === null) return el("p", { class: "muted small" }, words.trying.noLines);
  const lines = el("pre", { class: "yaml", tabindex: "0", "aria-label": words.trying.lines(name, file) }, answer.yaml);
  return el("div", { class: "yaml-block" }, el("p", { class: "small" }, words.trying.lines(name, file)), lines, copyButton(lines));
}
