// The picture in hand: one code, its picture, and the sliders that show and move it.

import { Painter } from "./picture.js";
import { inWords, percent, Slider } from "./slider.js";
import { sigmoid } from "./attributes.js";

const MEASURE = "slider-to-picture";
const DESCRIBE_AFTER_MS = 400;

export class Scene {
  constructor(page, engine, attributes, canvas, caption, onError) {
    Object.assign(this, { page, engine, attributes, canvas, caption, onError });
    this.painter = new Painter(canvas, page.data_shape);
    // Moves along an attribute start where its slider was taken up, so that going back comes back.
    this.anchor = null;
    this.frame = null;
    this.sliders = [];
  }

  addSliders(attributeList, dimensionList) {
    const changing = (fn) => (value, event) => {
      fn(value);
      this.changed(event);
    };
    this.attributes.all.forEach((attribute, k) => {
      const slider = new Slider(attributeList, {
        id: `attribute-${k}`,
        title: attribute.title,
        hint: attribute.meaning,
        range: attribute.range,
        words: (value) => (attribute.binary ? percent(sigmoid(value)) : inWords(value)),
        onInput: changing((value) => this.moveAttribute(k, value)),
      });
      this.sliders.push({ slider, read: () => this.attributes.score(k, this.z) });
    });
    for (const { index, range } of this.page.dimensions) {
      const slider = new Slider(dimensionList, {
        id: `dimension-${index}`,
        title: `dimension ${index}`,
        range,
        words: inWords,
        onInput: changing((value) => {
          this.anchor = null;
          this.z[index] = value;
        }),
      });
      this.sliders.push({ slider, read: () => this.z[index] });
    }
  }

  moveAttribute(k, value) {
    if (this.anchor?.k !== k) this.anchor = { k, z: this.z };
    const amount = value - this.attributes.score(k, this.anchor.z);
    this.z = this.attributes.move(k, this.anchor.z, amount);
  }

  /** Shows another code; `source` says where it comes from. */
  show(z, source) {
    this.origin = Float64Array.from(z);
    this.source = source;
    this.caption.textContent = `from ${source}`;
    return this.undo();
  }

  /** Takes back all moves. */
  undo() {
    this.z = Float64Array.from(this.origin);
    this.anchor = null;
    return this.changed();
  }

  /** Asks for a frame; several changes before it make one picture, of the last. */
  changed(event) {
    this.startedAt ??= event?.timeStamp;
    this.held = event?.target;
    this.frame ??= new Promise((resolve) => requestAnimationFrame(resolve)).then(() => this.draw());
    return this.frame;
  }

  async draw() {
    const { startedAt } = this;
    this.startedAt = undefined;
    this.frame = null;
    try {
      const mean = await this.engine.decode(this.z);
      this.painter.paint(mean);
      if (startedAt !== undefined) {
        // Whoever observes gets it; the page keeps none.
        performance.measure(MEASURE, { start: startedAt, end: performance.now() });
        performance.clearMeasures(MEASURE);
      }
      for (const { slider, read } of this.sliders) slider.show(read(), slider.input === this.held);
      clearTimeout(this.describing);
      this.describing = setTimeout(() => this.describe(), DESCRIBE_AFTER_MS);
    } catch (error) {
      this.onError(error);
    }
  }

  /** The picture in words, once it stands still. */
  describe() {
    const readings = this.attributes.all.map(({ title, binary }, k) => {
      const value = this.attributes.score(k, this.z);
      return `${title} ${binary ? percent(sigmoid(value)) : inWords(value)}`;
    });
    this.canvas.ariaLabel = [`A ${this.page.noun} from ${this.source}`, ...readings].join(", ");
  }
}
