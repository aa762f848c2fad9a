// The page of one camera: its newest frame with masks and regions, its answers, and what can be done with them.
import { mount as mountCourse } from "./course.js";
import { DrawOn } from "./draw.js";
import { el, setText } from "./dom.js";
import { follow, state } from "./live.js";
import { Surface } from "./surface.js";
import { mount as mountTry } from "./try.js";
import { words } from "./words.js";

const place = document.getElementById("camera");
const name = place.dataset.camera;
const surface = new Surface();
const drawing = new DrawOn(surface.element);
const title = el("h1", {}, name);
const gone = el("p", { class: "notice bad", role: "alert", hidden: true }, words.cameraGone, " ", el("a", { href: "/" }, words.allCameras));
const present = el("div", { class: "camera-page", hidden: true },
  el("div", { class: "camera-top" }, el("div", {}, surface.element), el("section", { id: "answers" })),
  drawing.element,
  el("section", { id: "course" }),
  el("section", { id: "try" }));

place.append(title, gone, present);
mountCourse(document.getElementById("course"), name);
mountTry(document.getElementById("try"), name);
follow(update);
update(); // the header may have heard of everything already

function update() {
  if (!state.box) return;
  gone.hidden = state.box.cameras.includes(name);
  const camera = state.cameras.get(name);
  present.hidden = !camera;
  if (camera) show(camera);
}

function show(camera) {
  setText(title, camera.title);
  surface.follow(camera);
  drawing.follow(camera, state.box.config.file);
}
