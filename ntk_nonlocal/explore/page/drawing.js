// Pictures, weights and curves, drawn on canvases and as SVG.

// From negative over zero to positive; told apart by the colour-blind. In the dark, zero is dark.
const LIGHT = [[5, 48, 97], [67, 147, 195], [247, 247, 247], [214, 96, 77], [103, 0, 31]];
const DARK = [[158, 202, 255], [40, 110, 190], [24, 26, 30], [200, 90, 30], [255, 214, 140]];
const SHOWN_DECADES = 3; // of the signed logarithmic scale

const GREYS = [255, 200, 140, 70, 0].map((level) => [level, level, level]); // light, over a middle grey, to dark
const shown = { greys: false };

export const dark = () => matchMedia("(prefers-color-scheme: dark)").matches;
export const useGreys = (wanted) => { shown.greys = wanted; };

// A value in -1 .. 1 as [red, green, blue].
export function colour(value) {
  const stops = shown.greys ? GREYS : dark() ? DARK : LIGHT;
  const place = (Math.min(Math.max(value, -1), 1) + 1) * 2;
  const first = Math.min(Math.floor(place), 3);
  return stops[first].map((start, i) => start + (place - first) * (stops[first + 1][i] - start));
}

// Where a weight stands on the colour bar, -1 .. 1.
export function placed(weight, limit, scale) {
  const share = weight / limit;
  if (scale === "linear") return share;
  const size = Math.abs(share);
  return size === 0 ? 0 : Math.sign(share) * Math.max(0, 1 + Math.log10(size) / SHOWN_DECADES);
}

export function limitOf(rows) {
  let limit = 0;
  for (const row of rows) for (const value of row) limit = Math.max(limit, Math.abs(value));
  return limit || 1;
}

function paint(canvas, width, height, pixel) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let p = 0; p < width * height; p++) {
    pixel(p, image.data, 4 * p);
    image.data[4 * p + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

// Colours of -1 .. 1, red, green and blue of each, for light and dark.
const HALF = 256;
const tables = new Map();

function table() {
  const key = `${dark()} ${shown.greys}`;
  if (!tables.has(key)) tables.set(key, Float64Array.from(Array.from({ length: 2 * HALF + 1 }, (_, i) => colour(i / HALF - 1)).flat()));
  return tables.get(key);
}

// Weights in colour; where they are small, the picture shines through a little.
export function drawWeights(canvas, weights, filter, grey, limit, scale) {
  const colours = table();
  const night = dark();
  paint(canvas, filter.width, filter.height, (p, data, at) => {
    const value = Math.min(Math.max(placed(weights[p], limit, scale), -1), 1);
    const first = 3 * Math.round(HALF * (value + 1));
    const calm = 1 - Math.abs(value);
    const shine = shown.greys ? 0 : night ? 70 * grey[p] * calm : -80 * (1 - grey[p]) * calm;
    data[at] = colours[first] + shine;
    data[at + 1] = colours[first + 1] + shine;
    data[at + 2] = colours[first + 2] + shine;
  });
}

export function drawSigned(canvas, values, filter) {
  const limit = limitOf([values]);
  paint(canvas, filter.width, filter.height, (p, data, at) => data.set(colour(values[p] / limit), at));
}

// A picture with C channels over [0, 1]; residuals are shown around grey.
export function drawPicture(canvas, values, filter, { offset = 0, gain = 1 } = {}) {
  const { channels } = filter;
  paint(canvas, filter.width, filter.height, (p, data, place) => {
    let mean = 0;
    for (let i = 0; i < channels; i++) mean += values[p * channels + i] / channels;
    for (let i = 0; i < 3; i++) data[place + i] = 255 * (offset + gain * (channels === 3 ? values[p * channels + i] : mean));
  });
}

export function drawBar(canvas) {
  paint(canvas, 256, 1, (p, data, at) => data.set(colour((p - 127.5) / 127.5), at));
}

export function barTicks(limit, scale) {
  const short = (value) => String(+value.toPrecision(value < 0.01 ? 1 : 2)).replace("-", "−");
  if (scale === "linear") return [-1, -0.5, 0, 0.5, 1].map((at) => [at, short(at * limit)]);
  const ticks = [[0, `below ${short(limit / 10 ** SHOWN_DECADES)}`]];
  for (const at of [1, 2 / 3, 1 / 3]) {
    const value = limit * 10 ** (SHOWN_DECADES * (at - 1));
    ticks.push([at, short(value)], [-at, `−${short(value)}`]);
  }
  return ticks;
}

const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Curves against steps 1 .. 10^6; each { values, knots, style, mark } with the index of a marked point.
export function drawCurves(svg, curves, { step, label, lines = [] }) {
  const [width, height, left, right, top, bottom] = [520, 300, 46, 12, 12, 40];
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const all = curves.flatMap((curve) => Array.from(curve.values)).concat(lines.map((line) => line.value));
  const sorted = all.filter(Number.isFinite).sort((a, b) => a - b);
  const [least, most] = [sorted[0], sorted[sorted.length - 1]];
  const room = (most - least || 1) * 0.06;
  const x = (value) => left + ((width - left - right) * Math.log10(value)) / 6;
  const y = (value) => top + ((height - top - bottom) * (most + room - value)) / (most - least + 2 * room);
  const parts = [];
  for (let power = 0; power <= 6; power++) {
    const at = x(10 ** power);
    parts.push(element("line", { x1: at, x2: at, y1: top, y2: height - bottom, class: "grid" }));
    const name = element("text", { x: at, y: height - bottom + 16, class: "tick", "text-anchor": "middle" }, power < 4 ? 10 ** power : "10");
    if (power >= 4) name.append(element("tspan", { dy: -5, "font-size": 9 }, power));
    parts.push(name);
  }
  const gap = niceGap((most - least + 2 * room) / 4);
  for (let value = Math.ceil((least - room) / gap) * gap; value <= most + room; value += gap) {
    parts.push(element("line", { x1: left, x2: width - right, y1: y(value), y2: y(value), class: "grid" }));
    parts.push(element("text", { x: left - 6, y: y(value) + 4, class: "tick", "text-anchor": "end" }, +value.toPrecision(6)));
  }
  parts.push(element("text", { x: (left + width - right) / 2, y: height - 4, class: "tick", "text-anchor": "middle" }, label));
  for (const line of lines) {
    parts.push(element("line", { x1: left, x2: width - right, y1: y(line.value), y2: y(line.value), class: "level" }));
    parts.push(element("text", { x: left + 6, y: y(line.value) - 5, class: "tick" }, line.name));
  }
  if (step !== null) parts.push(element("line", { x1: x(step), x2: x(step), y1: top, y2: height - bottom, class: "now" }));
  for (const { values, knots, style, mark, hollow } of curves) {
    const points = knots.map((knot, i) => `${x(knot).toFixed(1)},${y(values[i]).toFixed(1)}`).join(" ");
    parts.push(element("polyline", { points, class: "curve", stroke: style.colour, "stroke-dasharray": style.dash }));
    const [cx, cy] = [x(knots[mark]), y(values[mark])];
    const diamond = `${cx},${cy - 6} ${cx + 6},${cy} ${cx},${cy + 6} ${cx - 6},${cy}`;
    parts.push(element("polygon", { points: diamond, class: "stop", fill: style.colour, ...(hollow && { style: `fill: var(--back); stroke: ${style.colour}` }) }));
  }
  svg.replaceChildren(...parts);
  return { stepAt: (share) => 10 ** Math.min(6, Math.max(0, (6 * (share * width - left)) / (width - left - right))) };
}

function niceGap(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * power).find((gap) => gap >= rough);
}
