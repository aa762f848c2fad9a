// A question with its answer, as a row that is updated in place.
import { alertText, answerState, hasAlert, isLong, valueText } from "./answer.js";
import { el, setAttribute, setText } from "./dom.js";
import { ageOf, isFuture } from "./live.js";
import { duration, words } from "./words.js";

/** {element, update(question, camera)} for a question; the type of its answer stays the same. */
export function answerRow(question) {
  const parts = {
    title: el("h3", { class: "question" }),
    alert: el("span", { class: "badge bad", hidden: true }),
    value: el("p", { class: "value" }),
    mark: el("span", { class: "mark" }), // right or wrong, in the demo
    truncated: el("span", { class: "badge warn", hidden: true }, words.truncated),
    age: el("span", { class: "muted small numbers age", "aria-hidden": "true" }),
    detail: el("p", { class: "detail small" }),
    meter: confidenceMeter(),
  };
  const kind = `${question.type} ${question.follow_up_of ? "follow-up" : ""}`;
  const element = el("li", { class: `answer ${kind}` }, ...(isLong(question) ? longLines(parts) : shortLines(parts)));
  return { element, update: (now, camera) => update(element, parts, now, camera) };
}

function shortLines({ title, alert, value, mark, meter, age, detail }) {
  return [
    el("div", { class: "asked" }, title),
    el("div", { class: "told" }, value, mark),
    el("div", { class: "measured" }, meter.element, age),
    el("div", { class: "noted" }, alert, detail),
  ];
}

/** The value has lines of its own, and can be scrolled: a long one moves nothing. */
function longLines({ title, alert, value, mark, truncated, age, detail }) {
  return [
    el("div", { class: "asked" }, title, alert, truncated, mark, age),
    el("div", { class: "told", tabindex: "0", role: "group" }, value, detail),
  ];
}

function update(element, parts, question, camera) {
  const { answer } = question;
  const now = answerState(question, camera);
  const alert = hasAlert(question);
  setText(parts.title, question.title);
  setText(parts.value, now.text);
  setAttribute(parts.value, "class", `value ${now.current ? "" : `refused ${now.level}`}`);
  setText(parts.detail, now.detail);
  setText(parts.age, answer && !isFuture(answer.answered_ts) ? words.ago(duration(ageOf(answer.answered_ts))) : "");
  parts.truncated.hidden = !(now.current && answer.truncated);
  parts.alert.hidden = !alert;
  updateMark(parts.mark, now.current ? question : null);
  if (alert) setText(parts.alert, alertText(question));
  element.classList.toggle("alert", alert);
  parts.meter.update(now.current || answer?.status === "unsure" ? answer.confidence : null, question.min_confidence);
}

/** `question` is null if nothing is said about it. A mark keeps its place until the verdict on the next answer comes. */
function updateMark(mark, question) {
  const verdict = question?.verdict;
  setAttribute(mark, "class", `mark small ${verdict ? (verdict.right ? "good" : "bad") : "none"}`);
  if (verdict) setText(mark, markText(question, verdict));
}

function markText(question, { right, truth }) {
  if (right) return `✓ ${words.verdicts.right}`;
  return isLong(question) ? `✗ ${words.verdicts.wrong}` : `✗ ${words.wrongTruth(valueText(question, truth))}`;
}

/** A bar with the threshold below which an answer is unsure. It keeps its place without a confidence. */
function confidenceMeter() {
  const bar = el("span", { class: "bar-fill" });
  const least = el("span", { class: "bar-least" });
  const figure = el("span", { class: "numbers small" });
  const meter = el("span", {
    class: "meter", role: "meter", "aria-label": words.confidence, "aria-valuemin": "0", "aria-valuemax": "1", "aria-valuenow": "0",
  }, bar, least);
  const element = el("span", { class: "confidence" }, meter, figure);
  return { element, update: updateMeter };

  function updateMeter(confidence, minimum) {
    element.classList.toggle("none", confidence === null);
    if (confidence === null) return;
    const text = confidence.toFixed(2);
    setAttribute(meter, "aria-valuenow", text);
    setText(figure, text);
    bar.style.width = `${confidence * 100}%`;
    bar.classList.toggle("low", confidence < minimum);
    least.hidden = !minimum;
    least.style.left = `${minimum * 100}%`;
  }
}
