// From numbers to pixels and back.

// Dark to bright, in steps that look equal; for spreads, which are zero or more.
const HEAT = [
  [13, 8, 60],
  [96, 18, 110],
  [186, 54, 85],
  [243, 120, 40],
  [252, 240, 150],
];
const GREY = [0.299, 0.587, 0.114];

/** Paints pictures of one shape on one canvas; keeps its buffer. */
export class Painter {
  constructor(canvas, [height, width, channels]) {
    canvas.width = width;
    canvas.height = height;
    this.channels = channels;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.image = this.context.createImageData(width, height);
  }

  /** Means in [0, 1], clipped: a likelihood's mean may lie a little outside. */
  paint(values) {
    const { data } = this.image;
    const step = this.channels;
    for (let pixel = 0, at = 0; pixel < data.length; pixel += 4, at += step) {
      // A clamped array rounds and clips by itself.
      data[pixel] = 255 * values[at];
      data[pixel + 1] = 255 * values[step === 3 ? at + 1 : at];
      data[pixel + 2] = 255 * values[step === 3 ? at + 2 : at];
      data[pixel + 3] = 255;
    }
    this.context.putImageData(this.image, 0, 0);
  }

  /** One number a pixel, from 0 to `most`. */
  paintHeat(values, most) {
    const { data } = this.image;
    values.forEach((value, i) => {
      const place = Math.min(value / most, 1) * (HEAT.length - 1);
      const from = HEAT[Math.floor(place)];
      const to = HEAT[Math.ceil(place)];
      from.forEach((c, k) => (data[4 * i + k] = c + (place - Math.floor(place)) * (to[k] - c)));
      data[4 * i + 3] = 255;
    });
    this.context.putImageData(this.image, 0, 0);
  }
}

/** The per-pixel standard deviation of pictures, averaged over channels. */
export function spread(pictures, channels) {
  const length = pictures[0].length;
  const deviations = new Float64Array(length / channels);
  for (let i = 0; i < length; i++) {
    let sum = 0;
    let squares = 0;
    for (const picture of pictures) {
      sum += picture[i];
      squares += picture[i] ** 2;
    }
    const mean = sum / pictures.length;
    const variance = Math.max(squares / pictures.length - mean ** 2, 0);
    deviations[Math.floor(i / channels)] += Math.sqrt(variance) / channels;
  }
  return deviations;
}

/** What a model sees of a source (bitmap or canvas): cut to its shape at the centre, resized. */
export function sampleSource(source, [height, width, channels], background) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const level = Math.round(255 * background);
  context.fillStyle = `rgb(${level} ${level} ${level})`;
  context.fillRect(0, 0, width, height);
  const scale = Math.min(source.width / width, source.height / height);
  const [cutWidth, cutHeight] = [scale * width, scale * height];
  const [left, top] = [(source.width - cutWidth) / 2, (source.height - cutHeight) / 2];
  // Pixels that fit are taken as they are.
  context.imageSmoothingEnabled = scale !== 1;
  context.imageSmoothingQuality = "high";
  context.drawImage(source, left, top, cutWidth, cutHeight, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const values = new Float32Array(height * width * channels);
  for (let pixel = 0, at = 0; pixel < data.length; pixel += 4) {
    const rgb = [data[pixel] / 255, data[pixel + 1] / 255, data[pixel + 2] / 255];
    if (channels === 3) rgb.forEach((value) => (values[at++] = value));
    else values[at++] = rgb[0] * GREY[0] + rgb[1] * GREY[1] + rgb[2] * GREY[2];
  }
  return values;
}
