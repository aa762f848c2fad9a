// The answers of a camera, as rows that are updated in place.
import { answerRow } from "./answer-row.js";
import { el, setChildren } from "./dom.js";

/** {element, update(camera)}. */
export function answerList() {
  const rows = new Map(); // by question and type
  const element = el("ul", { class: "answers" });
  return { element, update };

  function update(camera) {
    setChildren(element, camera.questions.map((question) => updatedRow(question, camera)));
  }

  function updatedRow(question, camera) {
    const key = `${question.name} ${question.type} ${question.follow_up_of}`;
    if (!rows.has(key)) rows.set(key, answerRow(question));
    rows.get(key).update(question, camera);
    return rows.get(key).element;
  }
}
