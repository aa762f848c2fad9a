// Beside the picture: what can be drawn, the list of shapes, and the lines for the config.
import { copyButton } from "./copy.js";
import { el, setText } from "./dom.js";
import { titleOf } from "./overlay.js";
import { refusals, warnings } from "./shape-problems.js";
import { yamlOf } from "./shapes-yaml.js";
import { words as all } from "./words.js";

const words = all.drawing;

export class DrawPanel {
  #drawing;
  #tools;
  #hint = el("p", { class: "hint", role: "status" });
  #rows = el("ul", { class: "shapes" });
  #steps;
  #name = el("input", { id: "region-name", maxlength: "64", autocomplete: "off", autocapitalize: "none", spellcheck: "false" });
  #nameField = el("p", { class: "field" }, el("label", { for: "region-name" }, words.regionName), this.#name);
  #problems = el("ul", { class: "notices", "aria-live": "polite" });
  #blocks = ["mask", "region"].map((kind) => new YamlBlock(kind));

  /** `begun()` is called when a shape is to be drawn, `selected()` when one was chosen from the list. */
  constructor(drawing, { begun, selected }) {
    this.#drawing = drawing;
    this.#tools = toolButtons((kind, form) => {
      drawing.begin(kind, form);
      begun();
    });
    this.#steps = stepButtons(drawing);
    this.#name.addEventListener("input", () => drawing.rename(this.#name.value));
    this.selected = selected;
    this.element = el("details", { class: "card", ontoggle: () => !this.open && drawing.select(null) },
      el("summary", {}, el("h2", {}, words.title)),
      el("div", { class: "draw" },
        el("p", { class: "muted" }, words.introduction),
        el("div", { class: "tools" }, groups(this.#tools)),
        this.#hint,
        el("div", { class: "steps" }, Object.values(this.#steps)),
        this.#rows, this.#nameField, this.#problems, this.#blocks.map((block) => block.element)));
  }

  /** Only then the picture can be drawn on: a finger that scrolls over it does not change anything. */
  get open() {
    return this.element.open;
  }

  show(camera, file) {
    const { draft, tool, size } = this.#drawing;
    for (const { button, kind, form } of this.#tools) {
      button.disabled = size === null;
      button.setAttribute("aria-pressed", String(tool?.kind === kind && tool.form === form));
    }
    setText(this.#hint, hint(this.#drawing));
    this.#showRows(draft);
    this.#showName(draft.shape);
    this.#showSteps();
    this.#showResult(camera, file);
  }

  #showRows({ shapes, selected }) {
    while (this.#rows.children.length > shapes.length) this.#rows.lastChild.remove();
    while (this.#rows.children.length < shapes.length) this.#rows.append(this.#row(this.#rows.children.length));
    shapes.forEach((shape, index) => {
      const [select, remove] = this.#rows.children[index].children;
      const title = titleOf(shape, shapes, index);
      setText(select, title);
      select.className = `shape ${shape.kind}`;
      select.setAttribute("aria-pressed", String(index === selected));
      remove.setAttribute("aria-label", words.deleteShape(title));
    });
  }

  #row(index) {
    const select = () => {
      this.#drawing.select(index);
      this.selected();
    };
    return el("li", {},
      el("button", { type: "button", onclick: select }),
      el("button", { type: "button", class: "delete", onclick: () => this.#drawing.remove(index) }, "✕"));
  }

  #showName(shape) {
    this.#nameField.hidden = shape?.kind !== "region";
    if (shape?.kind === "region" && this.#name.value !== shape.name) this.#name.value = shape.name;
  }

  #showSteps() {
    const { draft, tool, points } = this.#drawing;
    const { undo, finish, cancel, addCorner, removeCorner, discard } = this.#steps;
    undo.disabled = !draft.canUndo && !tool;
    finish.hidden = tool?.form !== "polygon";
    finish.disabled = points.length < 3;
    cancel.hidden = !tool;
    addCorner.hidden = removeCorner.hidden = !draft.shape?.polygon;
    removeCorner.disabled = !draft.shape || !this.#drawing.canRemoveCorner;
    discard.disabled = !draft.changed;
  }

  #showResult(camera, file) {
    const { draft } = this.#drawing;
    const refused = draft.changed ? refusals(draft, camera.questions) : [];
    this.#showProblems([...refused.map((text) => ["bad", text]), ...warnings(this.#drawing).map((text) => ["warn", text])]);
    for (const block of this.#blocks) block.show(draft, camera.name, file, refused.length === 0);
  }

  #showProblems(problems) {
    if (String(problems) === this.#problems.dataset.shown) return;
    this.#problems.dataset.shown = String(problems);
    this.#problems.replaceChildren(...problems.map(([kind, text]) => el("li", { class: `notice ${kind}` }, text)));
  }
}

/** The lines of `mask:` or `regions:`, and where they go. */
class YamlBlock {
  #kind;
  #where = el("p", {});
  #lines = el("pre", { class: "yaml", tabindex: "0" });
  #copy = copyButton(this.#lines);

  constructor(kind) {
    this.#kind = kind;
    this.element = el("div", { class: "yaml-block", "data-kind": kind, hidden: true }, this.#where, this.#lines, this.#copy);
  }

  show(draft, camera, file, valid) {
    const { key, lines } = yamlOf(this.#kind, draft.shapes);
    this.element.hidden = !valid || !draft.differs(this.#kind);
    this.#lines.hidden = this.#copy.hidden = lines === "";
    this.#lines.setAttribute("aria-label", words.linesOf(key));
    setText(this.#lines, lines);
    setText(this.#where, where(draft.has(this.#kind), lines !== "")(key, camera, file));
  }
}

function where(replaces, some) {
  if (!some) return words.removeKey;
  return replaces ? words.replaceKey : words.addKey;
}

function toolButtons(begin) {
  return ["region", "mask"].flatMap((kind) =>
    ["box", "polygon"].map((form) => ({
      kind, form, button: el("button", { type: "button", "data-tool": `${kind} ${form}`, onclick: () => begin(kind, form) }, words[form]),
    })));
}

function groups(tools) {
  return ["region", "mask"].map((kind) =>
    el("div", { class: "tool-group", role: "group", "aria-label": words.tools[kind] },
      el("span", { "aria-hidden": "true" }, words.tools[kind]),
      tools.filter((tool) => tool.kind === kind).map((tool) => tool.button)));
}

function stepButtons(drawing) {
  const button = (name, act) => el("button", { type: "button", "data-step": name, onclick: act }, words[name]);
  return {
    finish: button("finish", () => drawing.finish()),
    cancel: button("cancel", () => drawing.cancel()),
    undo: button("undo", () => drawing.undo()),
    addCorner: button("addCorner", () => drawing.addCorner()),
    removeCorner: button("removeCorner", () => drawing.removeCorner()),
    discard: button("discard", () => drawing.discard()),
  };
}

/** What to do now. */
function hint({ size, tool, draft }) {
  if (size === null) return words.noPictureYet;
  if (tool) return words.hint[tool.form];
  return draft.shape ? words.hint.selected : words.hint.none;
}
