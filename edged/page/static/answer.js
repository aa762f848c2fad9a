// What there is to say about a question now: its value, or why there is none. Pure, but for the time.
import { ageOf, isFuture } from "./live.js";
import { duration, words } from "./words.js";

const LONGEST_VALUE = 40; // characters of a value within a line
const LEVELS = { unsure: "warn", not_asked: "" }; // of refusals; others are "bad"

/** {text, detail, level, current}: `current` is true for a value that is in force; `level` is "", "warn" or "bad". */
export function answerState(question, camera) {
  const { answer } = question;
  if (!camera.active || question.paused) return refused(words.paused, "", "");
  if (!answer) return refused(words.noAnswer, "", "");
  if (isFuture(answer.answered_ts)) return refused(words.ageUnknown, words.ageUnknownDetail, "warn");
  const age = ageOf(answer.answered_ts);
  if (age > question.expires_s) return refused(words.expired, words.expiredDetail(duration(age)), "warn");
  if (answer.status !== "ok") {
    return refused(words.status[answer.status], answer.reason ?? "", LEVELS[answer.status] ?? "bad");
  }
  return { text: valueText(question, answer.value), detail: lastChange(question), level: "", current: true };
}

/** True while the question's alert is on. */
export function hasAlert(question) {
  return Boolean(question.answer?.alert?.on);
}

export function alertText(question) {
  const { since } = question.answer.alert;
  return since === null || isFuture(since) ? words.alertJustOn : words.alertOn(duration(ageOf(since)));
}

/** A value as people say it: the words of yes and no, the label of a choice. */
export function valueText(question, value) {
  if (value === null || value === undefined) return "–";
  if (question.type === "yes_no") return question.words[value ? 0 : 1];
  const choice = question.choices?.find((each) => JSON.stringify(each.value) === JSON.stringify(value));
  if (choice) return choice.label;
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** True for values of several lines. */
export function isLong(question) {
  return question.type === "text" || question.type === "json";
}

function refused(text, detail, level) {
  return { text, detail, level, current: false };
}

function lastChange(question) {
  const { change } = question;
  if (!change || isFuture(change.ts) || isLong(question)) return ""; // a description is another one at each look
  const [before, after] = [change.from, change.to].map((value) => shortened(valueText(question, value)));
  return words.changed(before, after, words.ago(duration(ageOf(change.ts))));
}

function shortened(text) {
  return text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE)}…` : text;
}
