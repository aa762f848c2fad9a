// The page of one camera.
import { el } from "./dom.js";
import { follow, state } from "./live.js";

const place = document.getElementById("camera");
const name = place.dataset.camera;

follow(() => {
  const camera = state.cameras.get(name);
  place.replaceChildren(el("h1", {}, camera ? camera.title : name));
});
