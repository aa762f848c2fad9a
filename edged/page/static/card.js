// A camera on the board: its last picture and its answers.
import { answerList } from "./answer-list.js";
import { hasAlert } from "./answer.js";
import { el, setText } from "./dom.js";
import { pictureView } from "./picture.js";

/** {element, update(camera)} for the camera of this name. */
export function cameraCard(name) {
  const link = el("a", { href: `/camera/${name}` });
  const picture = pictureView();
  const answers = answerList();
  const element = el("article", { class: "card camera", id: `camera-${name}`, "aria-labelledby": `title-${name}` },
    el("h2", { id: `title-${name}` }, link), picture.element, answers.element);
  return { element, update, frame: picture.frame };

  function update(camera) {
    setText(link, camera.title);
    picture.update(camera);
    element.classList.toggle("alert", camera.questions.some(hasAlert));
    answers.update(camera);
  }
}
