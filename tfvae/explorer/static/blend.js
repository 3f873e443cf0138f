// Two pictures and the straight line between their codes.

import { Painter } from "./picture.js";
import { percent } from "./slider.js";

export class Blend {
  constructor(page, engine, scene, byId, onError) {
    Object.assign(this, { page, engine, scene, onError });
    this.ends = { a: null, b: null };
    this.painters = Object.fromEntries(
      ["a", "mix", "b"].map((key) => [key, new Painter(byId(`blend-${key}`), page.data_shape)]),
    );
    this.range = byId("blend-range");
    this.canvas = byId("blend-mix");
    this.range.addEventListener("input", () => this.changed());
    for (const key of ["a", "b"]) {
      byId(`blend-set-${key}`).addEventListener("click", () => this.set(key, scene.z));
    }
    byId("blend-explore").addEventListener("click", () => scene.show(this.mix(), "a blend"));
  }

  async set(key, z) {
    try {
      this.ends[key] = Float64Array.from(z);
      this.painters[key].paint(await this.engine.decode(z));
      await this.changed();
    } catch (error) {
      this.onError(error);
    }
  }

  mix() {
    const t = this.range.valueAsNumber;
    return this.ends.a.map((value, i) => (1 - t) * value + t * this.ends.b[i]);
  }

  changed() {
    const words = `${percent(this.range.valueAsNumber)} of the way from A to B`;
    this.range.setAttribute("aria-valuetext", words);
    if (!this.ends.a || !this.ends.b) return null;
    this.frame ??= new Promise((resolve) => requestAnimationFrame(resolve)).then(() => this.draw());
    return this.frame;
  }

  async draw() {
    this.frame = null;
    try {
      this.painters.mix.paint(await this.engine.decode(this.mix()));
      this.canvas.ariaLabel = `A ${this.page.noun}, ${this.range.getAttribute("aria-valuetext")}`;
    } catch (error) {
      this.onError(error);
    }
  }
}
