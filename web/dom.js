// Short hands for the document. In: names and pictures. Out: elements.

export const $ = (id) => document.getElementById(id);

const policy = globalThis.trustedTypes?.createPolicy('motionlens', {
  createScriptURL(url) {
    if (new URL(url, document.baseURI).origin === location.origin) return url;
    throw new TypeError(`${url} is not of this site`);
  },
});

// A script of this site, where the browser takes no other.
export const script = (name) => {
  const url = new URL(name, document.baseURI).href;
  return policy?.createScriptURL(url) ?? url;
};

// element('p', {className: 'quiet'}, 'text', child…)
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// A list of terms, each with its text.
export function fill(list, pairs) {
  list.replaceChildren(...pairs.map(([term, text]) =>
    element('div', {}, element('dt', { textContent: term }), element('dd', { textContent: text }))));
}

// Show one of the worker's pictures at its own size; style sheets enlarge it.
export function paint(canvas, { width, height, rgba, bitmap, x, y }) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d');
  if (bitmap) context.drawImage(bitmap, x, y, width, height, 0, 0, width, height);
  else context.putImageData(new ImageData(rgba, width, height), 0, 0);
  return canvas;
}

export function picture(picture, label) {
  const canvas = paint(document.createElement('canvas'), picture);
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', label);
  return canvas;
}

// What full colour stands for in the map of a pair; after the last frame, in that of the last pair.
export const speedOf = ({ legend: { speeds } }, pair) => speeds[Math.min(pair, speeds.length - 1)];
export const wait = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
export const estimatorName = (estimator) => (estimator === 'soft' ? 'soft-argmax' : 'kernel-soft-argmax');
export const seconds = (time) => `${time.toFixed(2)} s`;
export const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
export const duration = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
