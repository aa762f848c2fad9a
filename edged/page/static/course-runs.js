// Runs of equal answers: until when each is in force, and how a new answer joins them. Pure.

const MOST_TEXT = 120; // characters of a value or a reason, as /api/history cuts them
const ROUNDED_S = 0.1; // stamps of runs are rounded

/** The runs within the period, oldest first, each with `from` and `to`: a value is in force until the next answer, or until it expires. */
export function spans({ runs, expires_s: expires }, since, now) {
  return runs.map((run, index) => span(run, runs[index + 1]?.from_ts ?? now, expires, since, now)).filter((each) => each.to > since);
}

function span(run, next, expires, since, now) {
  const to = Math.min(run.to_ts + expires, Math.max(run.to_ts, next), now);
  return { run, from: Math.max(run.from_ts, since), to: Math.max(to, run.from_ts) };
}

/** The span at a moment; the later one of two. Null where there were no answers. */
export function spanAt(all, moment) {
  return all.findLast((each) => each.from <= moment && moment <= each.to) ?? null;
}

/** Add an answer that has just come. False if it is there already, or is of another type. */
export function add(history, answer) {
  const last = history.runs.at(-1);
  const moment = answer.answered_ts;
  if (answer.type !== history.type || (last && moment <= last.to_ts + ROUNDED_S)) return false;
  const run = runOf(answer, history.type);
  if (last && moment - last.to_ts <= history.expires_s && isSame(last, run)) {
    last.to_ts = moment;
    last.n += 1;
  } else {
    history.runs.push(run);
  }
  history.totals[run.status] = (history.totals[run.status] ?? 0) + 1;
  history.begun_ts = history.runs.length === 1 ? (history.begun_ts ?? moment) : history.begun_ts;
  return true;
}

function runOf(answer, type) {
  const ok = answer.status === "ok";
  return {
    from_ts: answer.answered_ts,
    to_ts: answer.answered_ts,
    value: ok ? shortened(answer.value, type) : null,
    status: answer.status,
    reason: ok ? null : (answer.reason?.slice(0, MOST_TEXT) ?? null),
    n: 1,
  };
}

function shortened(value, type) {
  if (typeof value === "number" && (type === "integer" || type === "number")) return value;
  if (typeof value === "boolean") return value;
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return type === "choices" || text.length <= MOST_TEXT ? text : `${text.slice(0, MOST_TEXT - 1)}…`;
}

function isSame(run, other) {
  const isPlain = run.low === undefined && run.values === undefined;
  return isPlain && run.value === other.value && run.status === other.status && run.reason === other.reason;
}
