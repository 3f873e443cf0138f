// The model: LiteRT.js and its tensors stay in this file.

const RUNTIME = "./litert/index.js";
const WASM = "litert/wasm/";

/** The runtime writes all that it has to say to its error stream; news are not errors. */
function log(line) {
  (/^(INFO|WARNING|VERBOSE)\b/.test(line) ? console.debug : console.error)(line);
}

export class Engine {
  /** Loads the runtime and the model. `page` is the content of page.json. */
  static async start(page) {
    let runtime;
    try {
      runtime = await import(RUNTIME);
    } catch (error) {
      throw new Error(
        "LiteRT.js is not in this folder. Complete the page with: tfvae explore PAGE, where PAGE " +
          `is this folder. (${error.message})`,
      );
    }
    // The runtime's loader takes its settings from here, and takes them away again.
    self.Module = { printErr: log };
    await runtime.loadLiteRt(WASM);
    const response = await fetch("model.tflite");
    if (!response.ok) throw new Error(`model.tflite: the server answers ${response.status}.`);
    const content = new Uint8Array(await response.arrayBuffer());
    const model = await runtime.loadAndCompile(content, { accelerator: "wasm" });
    return new Engine(page, runtime.Tensor, model);
  }

  constructor(page, Tensor, model) {
    this.Tensor = Tensor;
    this.model = model;
    this.size = page.latent_size;
    this.dataShape = page.data_shape;
    this.latentShape = page.model.latent_shape;
    this.signatures = page.signatures;
  }

  can(name) {
    return name in this.signatures;
  }

  /** Mean picture of one code, or of many, 16 at a time. */
  async decode(z) {
    const outputs = await this.run("decode", "z", Float32Array.from(z), [1, ...this.latentShape]);
    return outputs.mean;
  }

  async decodeMany(codes) {
    const pictures = [];
    for (let start = 0; start < codes.length; start += 16) {
      const rows = codes.slice(start, start + 16);
      const z = new Float32Array(16 * this.size);
      rows.forEach((code, row) => z.set(code, row * this.size));
      const { mean } = await this.run("decode_16", "z", z, [16, ...this.latentShape]);
      const length = mean.length / 16;
      rows.forEach((_, row) => pictures.push(mean.subarray(row * length, (row + 1) * length)));
    }
    return pictures;
  }

  /** The code that a seed draws from the prior. */
  async sample(seed) {
    // Row 0 of `vae.sample(n, seed)` has the pair (seed, 0).
    const { x, z } = await this.run("sample", "seed", Int32Array.of(seed, 0), [1, 2]);
    return { picture: x, z: Float64Array.from(z) };
  }

  /** The posterior of a picture: `loc`, and `scale` and `tril` where the model has them. */
  async encode(x) {
    const outputs = await this.run("encode", "x", x, [1, ...this.dataShape]);
    return {
      loc: Float64Array.from(outputs.loc),
      scale: outputs.scale && Float64Array.from(outputs.scale),
      tril: outputs.scale_tril && Float64Array.from(outputs.scale_tril),
    };
  }

  /** Runs one signature; copies its outputs, and frees every tensor, whatever happens. */
  async run(signature, name, data, shape) {
    const input = new this.Tensor(data, shape);
    let outputs = {};
    try {
      outputs = await this.model.run(signature, { [name]: input });
      return Object.fromEntries(
        Object.entries(outputs).map(([key, tensor]) => [key, tensor.toTypedArray().slice()]),
      );
    } finally {
      input.delete();
      Object.values(outputs).forEach((tensor) => tensor.delete());
    }
  }
}
