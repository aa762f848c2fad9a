// Masks and regions as they are drawn, before they are in the config: with the selected one, and what can be undone.

const MOST_STEPS = 200;

export class Draft {
  #base;
  #config;
  #past = []; // shapes and selection before each step
  #step = null;

  /** `config` has the shapes that are in force. */
  constructor(config) {
    this.shapes = config;
    this.selected = null; // index
    this.#base = config;
    this.#config = config;
  }

  get shape() {
    return this.shapes[this.selected] ?? null;
  }

  get changed() {
    return !same(this.shapes, this.#base);
  }

  /** True if the config has changed since the drawing was begun. */
  get outdated() {
    return this.changed && !same(this.#config, this.#base);
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  /** True if this kind of shape, "mask" or "region", is not as it is in the config. */
  differs(kind) {
    const [drawn, own] = [this.shapes, this.#config].map((shapes) => shapes.filter((shape) => shape.kind === kind));
    return !same(drawn, own);
  }

  /** True if the config has shapes of this kind. */
  has(kind) {
    return this.#config.some((shape) => shape.kind === kind);
  }

  /** The config's shapes, again or anew. A drawing stays, unless it is what the config has now. */
  follow(config) {
    if (same(config, this.#config)) return;
    this.#config = config;
    if (!this.changed || same(this.shapes, config)) this.discard();
  }

  /** Begin again with what the config has. */
  discard() {
    const { name } = this.shape ?? {};
    this.shapes = this.#base = this.#config;
    this.#past = [];
    this.#step = null;
    const index = this.shapes.findIndex((shape) => name !== undefined && shape.name === name);
    this.selected = index < 0 ? null : index;
  }

  select(index) {
    this.selected = index;
    this.#step = null;
  }

  add(shape) {
    this.#take([...this.shapes, shape], this.shapes.length, null);
  }

  /** Changes of the selected shape one after another that have the same `step` are undone together. */
  replace(shape, step = null) {
    if (same(shape, this.shape)) return;
    this.#take(this.shapes.map((each, at) => (at === this.selected ? shape : each)), this.selected, step);
  }

  remove(index) {
    this.#take(this.shapes.filter((_, at) => at !== index), null, null);
  }

  undo() {
    const last = this.#past.pop();
    if (last) [this.shapes, this.selected] = last;
    this.#step = null;
  }

  /** Undo the last step if it is this one. */
  undoStep(step) {
    if (step === this.#step) this.undo();
  }

  /** The next change is undone by itself. */
  endStep() {
    this.#step = null;
  }

  #take(shapes, selected, step) {
    if (step === null || step !== this.#step) this.#past = [...this.#past, [this.shapes, this.selected]].slice(-MOST_STEPS);
    [this.shapes, this.selected, this.#step] = [shapes, selected, step];
  }
}

function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}
