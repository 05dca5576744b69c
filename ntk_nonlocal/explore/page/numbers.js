// What the page holds: arrays out of base64 and deflate, and the few formulas of ntk_nonlocal/explore/stored.py.

async function inflate(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function array({ type, data }) {
  const bytes = await inflate(data);
  if (type === "float64") return new Float64Array(bytes.buffer);
  if (type === "float32") return Float64Array.from(new Float32Array(bytes.buffer));
  const count = bytes.length / 2; // all low bytes, then all high ones
  const values = type === "int16" ? new Int16Array(count) : new Uint16Array(count);
  for (let i = 0; i < count; i++) values[i] = bytes[i] | (bytes[count + i] << 8);
  return values;
}

// A document with its packed arrays replaced by typed ones; their shapes are kept under "shapes".
export async function unpack(value) {
  if (Array.isArray(value)) return Promise.all(value.map(unpack));
  if (value === null || typeof value !== "object") return value;
  const result = { shapes: {} };
  for (const [name, item] of Object.entries(value)) {
    const packed = item && typeof item === "object" && "data" in item && "shape" in item;
    result[name] = packed ? await array(item) : await unpack(item);
    if (packed) result.shapes[name] = item.shape;
  }
  return result;
}

// 1 - (1 - x)^step
export function filtered(x, step) {
  return -Math.expm1(step * Math.log1p(-Math.min(x, 1)));
}

// Cubic interpolation between the steps 10^(6 i / (count - 1)) in log(step): [first index, four weights].
export function interpolation(count, step) {
  const place = Math.min(Math.max(Math.log10(step) / 6, 0), 1) * (count - 1);
  const first = Math.min(Math.max(Math.floor(place) - 1, 0), count - 4);
  const weights = [0, 1, 2, 3].map((i) => {
    let product = 1;
    for (let j = 0; j < 4; j++) if (j !== i) product *= (place - first - j) / (i - j);
    return product;
  });
  return [first, weights];
}

// Of two pictures, clipped to [0, 1], in dB.
export function psnr(first, second) {
  let sum = 0;
  for (let i = 0; i < first.length; i++) {
    const a = Math.min(Math.max(first[i], 0), 1);
    const b = Math.min(Math.max(second[i], 0), 1);
    sum += (a - b) ** 2;
  }
  return -10 * Math.log10(sum / first.length);
}
