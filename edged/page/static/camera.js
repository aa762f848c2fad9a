// The page of one camera: its newest frame with masks and regions, its answers, and what can be done with them.
import { mount as mountCourse } from "./course.js";
import { answerList } from "./answer-list.js";
import { DrawOn } from "./draw.js";
import { el, setText } from "./dom.js";
import { eachSecond, follow, state } from "./live.js";
import { Surface } from "./surface.js";
import { mount as mountTry } from "./try.js";
import { words } from "./words.js";

const place = document.getElementById("camera");
const name = place.dataset.camera;
const surface = new Surface();
const drawing = new DrawOn(surface.element);
const answers = answerList();
const title = el("h1", {}, name);
const gone = el("p", { class: "notice bad gone", role: "alert", hidden: true }, words.cameraGone, " ", el("a", { href: "/" }, words.allCameras));
const present = el("div", { class: "camera-page", hidden: true },
  el("div", { class: "camera-top" },
    el("div", { class: "view" }, surface.element, surface.caption, drawing.element),
    el("section", { class: "card", "aria-labelledby": "answers-title" }, el("h2", { id: "answers-title" }, words.cameraAnswers), answers.element)),
  el("section", { id: "course" }),
  el("section", { id: "try" }));
let drawnOn = null; // the camera as the drawing knows it

place.append(title, gone, present);
mountCourse(document.getElementById("course"), name);
mountTry(document.getElementById("try"), name);
follow(update);
eachSecond(update); // ages
update(); // the header may have heard of everything already

function update() {
  if (!state.box) return;
  const camera = state.box.cameras.includes(name) ? state.cameras.get(name) : null;
  gone.hidden = camera !== null;
  present.hidden = !camera;
  if (camera) show(camera);
}

function show(camera) {
  setText(title, camera.title);
  surface.follow(camera);
  answers.update(camera);
  if (camera !== drawnOn) drawing.follow(camera, state.box.config.file);
  drawnOn = camera;
}
