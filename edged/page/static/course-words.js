// What is said about a course: of one run, and of all of them. Pure.
import { choiceText } from "./course-draw.js";
import { words } from "./words.js";

const text = words.course;

/** Why there was no value, or which it was: "3", "0 to 7, last 3", "Camera down: connection refused". */
export function valueOf(run, question) {
  if (run.status !== "ok") return [words.status[run.status] ?? run.status, run.reason].filter(Boolean).join(": ");
  if (run.low !== undefined) return text.rangeAndLast(run.low, run.high, run.value);
  if (run.values) return run.values.map(([value, n]) => `${choiceText(value, question)} ${n}`).join(", ");
  return choiceText(run.value, question);
}

/** When a run was: "14:03 – 14:10"; only its end if it began before the period. */
export function timesOf({ run, from }, zone, period) {
  const [first, last] = [run.from_ts, run.to_ts].map((stamp) => zone.moment(stamp, period));
  if (run.from_ts < from) return text.until(last);
  return first === last ? first : `${first} – ${last}`;
}

/** "14:03 – 14:10 · 3 · 12 answers" */
export function sentenceOf(span, question, zone, period) {
  return [timesOf(span, zone, period), valueOf(span.run, question), text.answers(span.run.n)].join(" · ");
}

/** "361 answers, 97 % with a value (0 to 7). Camera down 3 %." */
export function summaryOf({ totals }, spans, question) {
  const all = Object.values(totals).reduce((sum, n) => sum + n, 0);
  if (!all) return text.none;
  const refused = Object.entries(totals).filter(([status]) => status !== "ok").sort((one, other) => other[1] - one[1]);
  const parts = refused.map(([status, n]) => `${words.status[status] ?? status} ${percent(n / all)}`);
  return [text.answers(all), text.withValue(percent((totals.ok ?? 0) / all)) + rangeOf(spans, question), ...parts].join(" · ");
}

function rangeOf(spans, question) {
  if (question.type !== "integer" && question.type !== "number") return "";
  const values = spans.filter(({ run }) => run.status === "ok").flatMap(({ run }) => [run.value, run.low ?? run.value, run.high ?? run.value]);
  if (!values.length) return "";
  const [low, high] = [values.reduce((one, other) => Math.min(one, other)), values.reduce((one, other) => Math.max(one, other))];
  return ` (${low === high ? low : text.range(low, high)})`;
}

/** Never 0 or 100 for what is neither nothing nor all. */
function percent(share) {
  const rounded = Math.round(100 * share);
  if (share === 0 || share === 1) return `${rounded} %`;
  return rounded < 1 ? "<1 %" : `${Math.min(rounded, 99)} %`;
}
