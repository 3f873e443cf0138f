// One picture's posterior: its mean decoded, what is uncertain, and the readings of attributes.

import { Painter, spread } from "./picture.js";
import { inWords, percent } from "./slider.js";

export class PosteriorView {
  constructor(page, engine, attributes, byId) {
    Object.assign(this, { page, engine, attributes, byId });
    const painter = (id) => new Painter(byId(id), page.data_shape);
    this.seen = painter("own-seen");
    this.mean = painter("own-mean");
    this.uncertain = "uncertainty" in page.left_out ? null : painter("own-spread");
    byId("own-spread-figure").hidden = this.uncertain === null;
    this.rows = attributes.all.map((attribute) => new ReadingRow(byId("readings"), attribute));
    byId("readings-table").hidden = this.rows.length === 0;
  }

  /** Encodes a picture and shows all that is known of it. */
  async show(x, name) {
    const posterior = await this.engine.encode(x);
    this.seen.paint(x);
    this.mean.paint(await this.engine.decode(posterior.loc));
    if (this.uncertain) await this.showSpread(posterior);
    this.readings = this.attributes.all.map((_, k) => this.attributes.read(k, posterior));
    this.rows.forEach((row, k) => row.show(this.readings[k]));
    this.byId("own-seen").ariaLabel = `What the model sees of ${name}`;
    this.byId("own-result").hidden = false;
    this.code = posterior.loc;
    this.name = name;
  }

  async showSpread(posterior) {
    const pictures = await this.engine.decodeMany(this.page.noise.map((n) => drawOf(posterior, n)));
    this.spread = spread(pictures, this.page.data_shape[2]);
    const most = Math.max(...this.spread, 1e-6);
    this.uncertain.paintHeat(this.spread, most);
    const levels = Math.round(255 * most);
    this.byId("own-spread-most").textContent =
      `Dark: certain. Bright: up to ±${levels} of 255 grey levels.`;
    this.byId("own-spread").ariaLabel =
      `Where the model is uncertain: at most ${levels} of 255 grey levels`;
  }
}

/** A code: mean plus noise times the standard deviation, or times the covariance's factor. */
function drawOf({ loc, scale, tril }, noise) {
  const size = loc.length;
  return loc.map((value, i) => {
    if (!tril) return value + scale[i] * noise[i];
    let sum = value;
    for (let j = 0; j <= i; j++) sum += tril[i * size + j] * noise[j];
    return sum;
  });
}

/** One attribute: its name, a bar over the range of labels, the mean and the 90 % interval. */
class ReadingRow {
  constructor(body, attribute) {
    this.binary = attribute.binary;
    const [low, high] = attribute.binary ? [0, 1] : attribute.label_range;
    this.place = (value) => 100 * Math.min(Math.max((value - low) / (high - low), 0), 1);
    const row = body.insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = attribute.title;
    row.append(head);
    const graph = row.insertCell();
    graph.className = "graph";
    this.bar = document.createElement("div");
    this.tick = document.createElement("div");
    const track = document.createElement("div");
    track.className = "track";
    this.bar.className = "bar";
    this.tick.className = "tick";
    track.append(this.bar, this.tick);
    graph.ariaHidden = "true";
    graph.append(track);
    this.meanCell = row.insertCell();
    this.intervalCell = row.insertCell();
  }

  show({ mean, low, high }) {
    const words = this.binary ? percent : inWords;
    this.bar.style.left = `${this.place(low)}%`;
    this.bar.style.right = `${100 - this.place(high)}%`;
    this.tick.style.left = `${this.place(mean)}%`;
    this.meanCell.textContent = words(mean);
    this.intervalCell.textContent = `${words(low)} to ${words(high)}`;
  }
}
