import { filtered, interpolation } from "./numbers.js";

// One stored filter: its weights, their error, and its estimates. See ntk_nonlocal/explore/stored.py for what and why.
export class Filter {
  constructor(stored) {
    Object.assign(this, stored);
    this.levels = Float32Array.from(stored.levels); // numbers that need no conversion in every product
    [this.height, this.width, this.channels] = stored.image_shape;
    this.pixels = this.height * this.width;
    this.rank = this.x.length;
    this.atStep = null; // what depends on the step alone
    this.atPixel = null; // the last row that was asked for
  }

  prepare(step) {
    if (this.atStep && this.atStep.step === step) return this.atStep;
    const gains = Array.from(this.x, (x) => filtered(x, step));
    const first = filtered(this.low, step);
    const last = filtered(this.high, step);
    const span = this.high - this.low;
    const low = new Float64Array(this.pixels);
    const high = new Float64Array(this.pixels);
    const gain = new Float64Array(this.pixels);
    const root = new Float64Array(this.pixels);
    for (let p = 0; p < this.pixels; p++) {
      const place = span > 0 ? (this.mean[p] - this.low) / span : 0;
      low[p] = first + place * (last - first);
      high[p] = Math.max(low[p], filtered(this.mean[p], step));
      gain[p] = (low[p] + high[p]) / 2;
      root[p] = Math.sqrt(Math.max(gain[p], 0));
    }
    this.atStep = { step, gains, first, last, low, high, gain, root };
    this.atPixel = null;
    return this.atStep;
  }

  // The row of V diag(f_t) V^T and that of V V^T.
  products(pixel, step) {
    const { gains } = this.prepare(step);
    if (this.atPixel && this.atPixel.pixel === pixel) return this.atPixel;
    const { rank, levels, grain, pixels } = this;
    const mine = new Float64Array(rank);
    const weighted = new Float64Array(rank);
    for (let i = 0; i < rank; i++) {
      mine[i] = levels[pixel * rank + i] * grain[i] ** 2;
      weighted[i] = mine[i] * gains[i];
    }
    const known = new Float64Array(pixels);
    const overlap = new Float64Array(pixels);
    const even = rank - (rank % 2);
    for (let q = 0, at = 0; q < pixels; q++) {
      let [a, b, c, d] = [0, 0, 0, 0]; // sums of their own, which a processor makes side by side
      for (let i = 0; i < even; i += 2, at += 2) {
        const first = levels[at];
        const second = levels[at + 1];
        a += first * weighted[i];
        b += first * mine[i];
        c += second * weighted[i + 1];
        d += second * mine[i + 1];
      }
      if (even < rank) {
        a += levels[at] * weighted[even];
        b += levels[at] * mine[even];
        at += 1;
      }
      known[q] = a + c;
      overlap[q] = b + d;
    }
    this.atPixel = { pixel, known, overlap };
    return this.atPixel;
  }

  weights(row, column, step) {
    const pixel = row * this.width + column;
    const { gain, root } = this.prepare(step);
    const found = this.products(pixel, step);
    if (found.weights) return found.weights;
    const { known, overlap } = found;
    const { scale } = this;
    const result = new Float64Array(this.pixels);
    for (let q = 0; q < this.pixels; q++) {
      result[q] = ((known[q] - root[q] * root[pixel] * overlap[q]) * scale[pixel]) / scale[q];
    }
    result[pixel] = known[pixel] + this.weight[pixel] * gain[pixel];
    found.weights = result;
    return result;
  }

  // The largest sum over the rest, at one pixel, of a convex function of its gains.
  chord(convex, pixel) {
    const { first, last, low, high } = this.atStep;
    const ends = [convex(first), convex(last)];
    const share = (gain) => (last > first ? Math.min(Math.max((gain - first) / (last - first), 0), 1) : 0);
    const part = (gain) => this.weight[pixel] * (ends[0] + share(gain) * (ends[1] - ends[0]));
    return Math.max(part(low[pixel]), part(high[pixel]));
  }

  // The error of a row over its largest |weight|, at least the true one.
  error(row, column, step) {
    const pixel = row * this.width + column;
    const { low, high, gain, root } = this.prepare(step);
    const { known, overlap } = this.products(pixel, step);
    const { scale, pixels } = this;
    const shared = this.shared(step);
    const local = gain[pixel];
    const common = shared.common;
    const steepest = scale[pixel] / shared.smallest;
    const lengths = [local, common].map((s) => Math.sqrt(this.chord((f) => (f - s) ** 2, pixel)) * steepest);
    const size = Math.sqrt(this.chord((f) => Math.abs(f - common), pixel));
    lengths[1] = Math.min(lengths[1], size * scale[pixel] * shared.size);
    const differences = [0, 0];
    let largest = 0;
    const weights = this.weights(row, column, step);
    for (let q = 0; q < pixels; q++) {
      largest = Math.max(largest, Math.abs(weights[q]));
      if (q === pixel) continue;
      const apart = root[q] * root[pixel];
      const factor = (Math.abs(overlap[q]) * scale[pixel]) / scale[q];
      differences[0] = Math.max(differences[0], Math.abs(apart - local) * factor);
      differences[1] = Math.max(differences[1], Math.abs(apart - common) * factor);
    }
    const rest = Math.min(lengths[0] + differences[0], lengths[1] + differences[1]);
    const onDiagonal = (this.weight[pixel] * (high[pixel] - low[pixel])) / 2;
    const inexact = shared.sums[pixel] + shared.rounding;
    const worst = Math.max(rest, onDiagonal) + inexact * steepest;
    const sure = Math.max(largest - worst, known[pixel] + this.weight[pixel] * low[pixel] - inexact);
    const base = Math.min(largest, sure);
    return base > 0 ? worst / base : Infinity;
  }

  // What all rows of a step share in their errors.
  shared(step) {
    const now = this.prepare(step);
    if (now.shared) return now.shared;
    const { rank, levels, grain, pixels, scale } = this;
    const common = filtered(this.middle, step);
    const half = now.gains.map((gain, i) => (Math.max(gain, 0) * grain[i]) / 2);
    const factor = Float64Array.from(half, (value, i) => value * grain[i]);
    const sums = new Float64Array(pixels);
    let size = 0;
    let smallest = Infinity;
    let most = 0;
    for (let q = 0, at = 0; q < pixels; q++) {
      let sum = 0;
      for (let i = 0; i < rank; i++, at++) sum += Math.abs(levels[at]) * factor[i];
      sums[q] = sum;
      most = Math.max(most, sum);
      smallest = Math.min(smallest, scale[q]);
      size = Math.max(size, Math.sqrt(this.chord((f) => Math.abs(f - common), q)) / scale[q]);
    }
    const rounding = most + factor.reduce((a, b) => a + b, 0) / 2;
    now.shared = { common, sums, size, smallest, rounding };
    return now.shared;
  }

  estimate(step) {
    if (this.lastEstimate && this.lastEstimate.step === step) return this.lastEstimate.values;
    const [knots, count] = this.shapes.times;
    const [first, weights] = interpolation(knots, step);
    const length = this.pixels * this.channels;
    const values = new Float64Array(length);
    for (let j = 0; j < count; j++) {
      let share = 0;
      for (let k = 0; k < 4; k++) share += weights[k] * this.times[(first + k) * count + j];
      share *= this.layer_grain;
      const offset = j * length;
      for (let i = 0; i < length; i++) values[i] += share * this.layers[offset + i];
    }
    this.lastEstimate = { step, values };
    return values;
  }

  eigenvector(index) {
    return Float64Array.from({ length: this.pixels }, (_, p) => this.levels[p * this.rank + index] * this.grain[index]);
  }

  get knots() {
    const count = this.risk.length;
    return Array.from(this.risk, (_, i) => 10 ** ((6 * i) / (count - 1)));
  }

  get bestStep() {
    let best = 0;
    this.risk.forEach((value, i) => {
      if (value < this.risk[best]) best = i;
    });
    return Math.round(this.knots[best]);
  }
}
