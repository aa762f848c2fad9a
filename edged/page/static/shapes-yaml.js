// The lines for the config: `mask:` and `regions:` of a camera, indented for their place under its name.

/** The lines of `mask:` or `regions:` with all shapes of this kind, as {key, lines}; no lines if there is none. */
export function yamlOf(kind, shapes) {
  const own = shapes.filter((shape) => shape.kind === kind);
  const key = kind === "mask" ? "mask" : "regions";
  const lines = own.map((shape) => (kind === "mask" ? `      - ${form(shape)}\n` : `      ${keyOf(shape.name)}: ${form(shape)}\n`));
  return { key, lines: own.length ? `    ${key}:\n${lines.join("")}` : "" };
}

function form({ box, polygon }) {
  return polygon ? `{polygon: [${polygon.map(list).join(", ")}]}` : `{box: ${list(box)}}`;
}

/** With all digits; YAML 1.2 takes `1e-7` for a number too. */
function list(numbers) {
  return `[${numbers.join(", ")}]`;
}

/** In quotes if YAML could take it for something else than text. */
function keyOf(name) {
  return /^[a-z][a-z0-9_-]*$/.test(name) && !["null", "true", "false"].includes(name) ? name : `"${name}"`;
}
