// Where a picture of one's own comes from: examples, a file, a drop, or a drawing.

import { Painter, sampleSource } from "./picture.js";

// A pen's width: this share of the square, and at least so many of the model's pixels.
const PEN_SHARE = 0.09;
const PEN_PIXELS = 1.4;

export class OwnImage {
  constructor(page, posterior, byId, onError) {
    Object.assign(this, { page, posterior, byId, onError });
    byId("own-file").addEventListener("change", (event) => this.open(event.target.files[0]));
    this.acceptDrops(byId("own"));
    byId("own-pad").hidden = page.data_shape[2] !== 1;
    if (page.data_shape[2] === 1) new Pad(page, byId, (canvas) => this.see(canvas, "your drawing"));
  }

  /** Cuts the strip of examples into buttons, and shows the first. */
  async offerExamples() {
    if (!this.page.examples) return;
    const response = await fetch("examples.png");
    if (!response.ok) throw new Error(`examples.png: the server answers ${response.status}.`);
    const strip = await createImageBitmap(await response.blob(), { colorSpaceConversion: "none" });
    const [height, width] = this.page.data_shape;
    for (let i = 0; i < this.page.examples; i++) {
      const bitmap = await createImageBitmap(strip, i * width, 0, width, height);
      const x = sampleSource(bitmap, this.page.data_shape, 0);
      const button = document.createElement("button");
      button.type = "button";
      button.className = "example";
      button.ariaLabel = `Example ${i + 1}`;
      const canvas = document.createElement("canvas");
      new Painter(canvas, this.page.data_shape).paint(x);
      button.append(canvas);
      button.addEventListener("click", () => this.show(x, `example ${i + 1}`));
      this.byId("own-examples").append(button);
      if (i === 0) await this.show(x, "example 1");
    }
  }

  acceptDrops(zone) {
    const marking = (on) => (event) => {
      event.preventDefault();
      zone.classList.toggle("dropping", on);
    };
    zone.addEventListener("dragover", marking(true));
    zone.addEventListener("dragleave", marking(false));
    zone.addEventListener("drop", (event) => {
      marking(false)(event);
      this.open(event.dataTransfer.files[0]);
    });
  }

  async open(file) {
    if (!file) return;
    try {
      this.see(await createImageBitmap(file), file.name);
    } catch {
      this.onError(new Error(`This file is not a picture that the browser can open: ${file.name}`));
    }
  }

  see(source, name) {
    return this.show(sampleSource(source, this.page.data_shape, this.page.background), name);
  }

  /** One picture at a time; of those that come meanwhile, the last. */
  async show(x, name) {
    this.next = { x, name };
    if (this.busy) return;
    this.busy = true;
    try {
      while (this.next) {
        const { x: picture, name: title } = this.next;
        this.next = null;
        await this.posterior.show(picture, title);
      }
    } catch (error) {
      this.onError(error);
    } finally {
      this.busy = false;
    }
  }
}

/** A square to draw in, light on dark or dark on light as the model's pictures are. */
class Pad {
  constructor(page, byId, onDraw) {
    this.canvas = byId("pad");
    const [height, width] = page.data_shape;
    this.canvas.height = Math.round((this.canvas.width * height) / width);
    this.pen = Math.max(PEN_SHARE, PEN_PIXELS / width) * this.canvas.width;
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.paper = page.background < 0.5 ? "black" : "white";
    this.ink = page.background < 0.5 ? "white" : "black";
    this.onDraw = onDraw;
    this.clear();
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.last = this.at(event);
      this.lineTo(this.last);
    });
    this.canvas.addEventListener("pointermove", (event) => this.last && this.lineTo(this.at(event)));
    for (const end of ["pointerup", "pointercancel"]) {
      this.canvas.addEventListener(end, () => (this.last = null));
    }
    byId("pad-clear").addEventListener("click", () => this.clear());
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  }

  lineTo(point) {
    Object.assign(this.context, { strokeStyle: this.ink, lineCap: "round", lineJoin: "round" });
    this.context.lineWidth = this.pen;
    this.context.beginPath();
    this.context.moveTo(...this.last);
    this.context.lineTo(...point);
    this.context.stroke();
    this.last = point;
    this.onDraw(this.canvas);
  }

  clear() {
    this.context.fillStyle = this.paper;
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
  }
}
