// What is wrong with a drawing, in sentences: what edged would refuse, and what its owner should know.
import { titleOf } from "./overlay.js";
import { crossesItself, nameRefusalOf, refusalOf } from "./shapes.js";
import { words as all } from "./words.js";

const words = all.drawing;

/** Reasons why there are no lines for the config. `questions` are the camera's. */
export function refusals({ shapes }, questions) {
  const own = shapes.flatMap((shape, index) => refusalsOf(shape, titleOf(shape, shapes, index)));
  return [...own, ...twice(namesOf(shapes)), ...missing(namesOf(shapes), questions)];
}

export function warnings({ draft, resized }) {
  const crossing = draft.shapes.flatMap((shape, index) =>
    crossesItself(shape) ? [words.crosses(titleOf(shape, draft.shapes, index), shape.kind)] : []);
  return [
    ...(draft.changed ? crossing : []),
    ...(draft.outdated ? [words.configChanged] : []),
    ...(draft.changed && resized ? [words.resized(sizeText(resized.from), sizeText(resized.to))] : []),
  ];
}

function refusalsOf(shape, title) {
  const keys = [refusalOf(shape), shape.kind === "region" ? nameRefusalOf(shape.name) : null];
  return keys.filter(Boolean).map((key) => words[key](title));
}

function namesOf(shapes) {
  return shapes.filter((shape) => shape.kind === "region").map((shape) => shape.name);
}

function twice(names) {
  const repeated = names.filter((name, index) => names.indexOf(name) < index);
  return [...new Set(repeated)].map((name) => words.nameTwice(name));
}

/** A region that a question is about cannot be taken away. */
function missing(names, questions) {
  return questions
    .filter((question) => question.region !== null && !names.includes(question.region))
    .map((question) => words.regionInUse(question.region, question.title));
}

function sizeText({ width, height }) {
  return `${width}×${height}`;
}
