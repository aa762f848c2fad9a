// The page /label: kept frames, one answer at a time. A person says whether it is right, by keyboard or by touch.
import { isPress, isTyping, keyOf } from "./label_keys.js";
import { pictureProblem, show, showNothing, showProblem } from "./label_view.js";
import { words } from "./words.js";

const said = document.getElementById("said");
let task = null;
let busy = false;

/** Say something about the answer that is shown: `{verdict}` or `{truth}`, or take back the last label: `{undo}`. */
async function say(what) {
  if (busy || (!what.undo && !task)) return;
  const unseen = what.undo || what.verdict === "skip" ? null : pictureProblem();
  if (unseen) {
    said.textContent = unseen;
    return;
  }
  const about = what.undo ? {} : { frame: task.frame, question: task.answers[0].question };
  await load({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ ...about, ...what }) }, what);
}

async function load(request, what = {}) {
  busy = true;
  try {
    const response = await fetch("/api/label", request);
    if (!response.ok) return showProblem((await response.text()).trim());
    take(await response.json(), what);
  } catch {
    showProblem(words.labelOffline);
  } finally {
    busy = false;
  }
}

function take(state, what) {
  task = state.task;
  if (task) show(state, say);
  else showNothing(state, say);
  const next = task && words.labelNext(task.answers[0].question, task.answers[0].prompt);
  said.textContent = [sentence(state.label, what), next].filter(Boolean).join(". ");
}

function sentence(label, what) {
  if (what.undo) return label ? words.labelTakenBack(label.question) : words.labelNothingToTakeBack;
  return label ? words.labelled(label.question, words.verdicts[label.verdict]) : "";
}

document.addEventListener("keydown", (event) => {
  if (event.repeat && isPress(event)) event.preventDefault(); // it would press the button again and again
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || isTyping(event)) return;
  const what = keyOf(event.key, task?.answers[0]);
  if (!what) return;
  event.preventDefault();
  if (what.type !== undefined) typed(what.type);
  else say(what);
});

/** A digit begins the true value. */
function typed(text) {
  const input = document.getElementById("truth");
  input.focus();
  input.value = text;
}

load({});
