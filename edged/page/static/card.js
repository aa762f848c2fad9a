// A camera on the board: its last picture and its answers.
import { answerRow } from "./answer-row.js";
import { hasAlert } from "./answer.js";
import { el, setChildren, setText } from "./dom.js";
import { pictureView } from "./picture.js";

/** {element, update(camera)} for the camera of this name. */
export function cameraCard(name) {
  const link = el("a", { href: `/camera/${name}` });
  const picture = pictureView();
  const list = el("ul", { class: "answers" });
  const rows = new Map(); // by question and type
  const element = el("article", { class: "card camera", id: `camera-${name}`, "aria-labelledby": `title-${name}` },
    el("h2", { id: `title-${name}` }, link), picture.element, list);
  return { element, update, frame: picture.frame };

  function update(camera) {
    setText(link, camera.title);
    picture.update(camera);
    element.classList.toggle("alert", camera.questions.some(hasAlert));
    setChildren(list, camera.questions.map((question) => updatedRow(question, camera)));
  }

  function updatedRow(question, camera) {
    const key = `${question.name} ${question.type} ${question.follow_up_of}`;
    if (!rows.has(key)) rows.set(key, answerRow(question));
    rows.get(key).update(question, camera);
    return rows.get(key).element;
  }
}
