// The board: a card for each camera.
import { el } from "./dom.js";
import { follow, state } from "./live.js";

follow(() => {
  const cards = (state.box?.cameras ?? []).map((name) => state.cameras.get(name)).filter(Boolean).map(card);
  document.getElementById("cameras").replaceChildren(...cards);
});

function card(camera) {
  const frame = camera.frame;
  return el("article", { class: "card" },
    el("h2", {}, el("a", { href: `/camera/${camera.name}` }, camera.title)),
    frame && el("img", {
      src: `/api/frame/${camera.name}.jpg?sha256=${frame.sha256}`, width: frame.width, height: frame.height, alt: camera.title,
    }),
    camera.questions.map((question) => el("p", {}, `${question.title}: ${JSON.stringify(question.answer?.value ?? null)}`)));
}
