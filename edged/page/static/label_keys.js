// Which key says what on the page /label.

const ALWAYS = { s: { verdict: "skip" }, u: { undo: true } };
const VERDICTS = { r: { verdict: "right" }, w: { verdict: "wrong" }, ArrowRight: { verdict: "right" }, ArrowLeft: { verdict: "wrong" } };

/** What a key says about an answer: a verdict, a truth, `undo`, or `type`: the begin of a value. Null: nothing. */
export function keyOf(key, answer) {
  const name = key.length === 1 ? key.toLowerCase() : key;
  if (ALWAYS[name]) return ALWAYS[name];
  if (!answer) return null;
  const verdict = VERDICTS[name];
  if (verdict) return verdict.verdict === "right" && answer.guess === null ? null : verdict;
  if (answer.type === "yes_no") return { y: { truth: true }, n: { truth: false } }[name] ?? null;
  if (answer.type === "choices") return choice(answer, Number(name));
  if (answer.type === "integer" || answer.type === "number") return /^[-0-9]$/.test(name) ? { type: name } : null;
  return name === "t" ? { type: "" } : null;
}

function choice(answer, number) {
  const option = Number.isInteger(number) ? answer.form.choices[number - 1] : undefined;
  return option ? { truth: option[1] } : null;
}

/** True if the key goes into a field, presses a button or follows a link. */
export function isTyping(event) {
  const name = event.target.tagName;
  return name === "INPUT" || name === "TEXTAREA" || isPress(event);
}

/** True if the key presses a button or follows a link. */
export function isPress(event) {
  const name = event.target.tagName;
  return (name === "BUTTON" || name === "A") && (event.key === "Enter" || event.key === " ");
}
