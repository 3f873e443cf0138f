// Reading attributes off codes and moving codes along them: what tfvae.latent computes in Python,
// with the same formulas (Attribute.read_codes, move_codes).

const STEPS = 8;
const LONGEST_STEP = 1;
const SMALLEST_PIVOT = 1e-6;
// Of a standard normal variable: 90 % lie within.
const REACH_90 = 1.6448536269514722;

export class Attributes {
  /** `factors`: Int16Array, the lower factors of the weights' covariances, column by column. */
  constructor(page, factors) {
    this.all = page.attributes;
    this.codes = page.codes;
    this.size = page.latent_size;
    this.indexOf = new Map(this.all.map((attribute, index) => [attribute.name, index]));
    const width = this.all.length ? this.all[0].factor_scales.length : 0;
    const length = (width * (width + 1)) / 2;
    if (factors.length !== length * this.all.length) {
      throw new Error(
        `attributes.bin does not fit page.json: ${factors.length} numbers, not ` +
          `${length * this.all.length}.`,
      );
    }
    this.factors = this.all.map((_, k) => factors.subarray(k * length, (k + 1) * length));
  }

  /** The mean reading of attribute k: its label, or its log-odds if it is yes or no. */
  score(k, z) {
    const { intercept, gradient } = this.all[k];
    const slope = this.curved(k, z, 0.5);
    let sum = intercept;
    for (let i = 0; i < this.size; i++) sum += (gradient[i] + slope[i]) * (z[i] - this.codes.mean[i]);
    return sum;
  }

  /** The gradient of the reading. */
  direction(k, z) {
    const { gradient } = this.all[k];
    return this.curved(k, z, 1).map((bend, i) => gradient[i] + bend);
  }

  /** factor * curvature (z - mean). */
  curved(k, z, factor) {
    const { curvature } = this.all[k];
    const bend = new Float64Array(this.size);
    if (this.codes.degree === 1) return bend;
    for (let i = 0; i < this.size; i++) {
      let sum = 0;
      for (let j = 0; j < this.size; j++) sum += curvature[i][j] * (z[j] - this.codes.mean[j]);
      bend[i] = factor * sum;
    }
    return bend;
  }

  /** What a posterior says of attribute k: its mean, and the ends of the central 90 %. */
  read(k, posterior) {
    const attribute = this.all[k];
    const loc = this.score(k, posterior.loc);
    const variance =
      varianceAlong(posterior, this.direction(k, posterior.loc)) +
      this.doubt(k, posterior.loc) +
      attribute.noise_variance;
    const scale = Math.sqrt(variance);
    const [low, high] = [loc - REACH_90 * scale, loc + REACH_90 * scale];
    if (!attribute.binary) return { loc, scale, mean: loc, low, high };
    const [nodes, weights] = this.codes.quadrature;
    const mean = nodes.reduce((sum, node, i) => sum + weights[i] * sigmoid(loc + scale * node), 0);
    return { loc, scale, mean, low: sigmoid(low), high: sigmoid(high) };
  }

  /** f' V f, the variance that the labelled pictures leave: the square of the length of L'f. */
  doubt(k, z) {
    const f = this.features(z);
    const factor = this.factors[k];
    const scales = this.all[k].factor_scales;
    let sum = 0;
    let at = 0;
    for (let column = 0; column < f.length; column++) {
      let dot = 0;
      for (let row = column; row < f.length; row++) dot += factor[at++] * f[row];
      sum += (scales[column] * dot) ** 2;
    }
    return sum;
  }

  features(z) {
    const u = Array.from(z, (value, i) => (value - this.codes.mean[i]) / this.codes.scale);
    if (this.codes.degree === 1) return [...u, 1];
    const products = [];
    for (let i = 0; i < u.length; i++) for (let j = i; j < u.length; j++) products.push(u[i] * u[j]);
    return [...u, ...products, 1];
  }

  /** The most probable move of a code that changes reading k by `amount` and holds its others. */
  move(k, z, amount) {
    const held = this.all[k].hold.map((name) => this.indexOf.get(name));
    return this.moveHolding([k, ...held], z, amount) ?? this.moveHolding([k], z, amount) ?? z;
  }

  moveHolding(readings, z, amount) {
    const goal = readings.map((k) => this.score(k, z));
    goal[0] += amount;
    let code = Float64Array.from(z);
    for (let left = STEPS; left > 0; left--) {
      const change = readings.map((k, i) => (goal[i] - this.score(k, code)) / left);
      const step = this.step(readings, code, change);
      if (step === null) return null;
      code = code.map((value, i) => value + step[i]);
    }
    return code;
  }

  /** C G'(G C G')^-1 change, at most one standard deviation of the codes long. */
  step(readings, z, change) {
    const directions = readings.map((k) => this.direction(k, z));
    const reach = directions.map((d) => this.codes.covariance.map((row) => dot(row, d)));
    const gram = reach.map((r) => directions.map((d) => dot(r, d)));
    const deviations = gram.map((row, i) => Math.sqrt(row[i]));
    if (!deviations.every((deviation) => deviation > 0)) return null;
    const correlation = gram.map((row, i) => row.map((v, j) => v / (deviations[i] * deviations[j])));
    const solution = solve(correlation, change.map((c, i) => c / deviations[i]));
    if (solution === null) return null;
    const length = Math.sqrt(dot(solution, correlation.map((row) => dot(row, solution))));
    const shorten = Math.min(1, LONGEST_STEP / Math.max(length, 1e-12));
    const weights = solution.map((s, i) => (shorten * s) / deviations[i]);
    return z.map((_, d) => weights.reduce((sum, weight, i) => sum + weight * reach[i][d], 0));
  }
}

export function sigmoid(x) {
  return 0.5 * (1 + Math.tanh(0.5 * x));
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** d' C d for the covariance C of a posterior; 0 for a code that is certain. */
function varianceAlong({ loc, scale, tril }, direction) {
  const size = loc.length;
  let sum = 0;
  for (let column = 0; column < size; column++) {
    if (tril) {
      let along = 0;
      for (let row = column; row < size; row++) along += tril[row * size + column] * direction[row];
      sum += along ** 2;
    } else if (scale) {
      sum += (scale[column] * direction[column]) ** 2;
    }
  }
  return sum;
}

/** Solves a positive definite system; null where it is singular. */
function solve(matrix, right) {
  const n = right.length;
  const rows = matrix.map((row, i) => [...row, right[i]]);
  for (let i = 0; i < n; i++) {
    if (rows[i][i] < SMALLEST_PIVOT) return null;
    for (let j = i + 1; j < n; j++) {
      const share = rows[j][i] / rows[i][i];
      for (let c = i; c <= n; c++) rows[j][c] -= share * rows[i][c];
    }
  }
  const x = new Array(n).fill(0);
  for (let i = n - 1; i >= 0; i--) {
    let rest = rows[i][n];
    for (let j = i + 1; j < n; j++) rest -= rows[i][j] * x[j];
    x[i] = rest / rows[i][i];
  }
  return x;
}
