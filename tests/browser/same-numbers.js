// Are two results the same? In: tensors of the page and of `motionlens forward`. Out: the largest differences.
//
// Rule: confidence agrees everywhere. Displacement agrees wherever both found the same best match: at a near tie of two
// matches the last bit decides which is best, and the displacement jumps. Such places must be rare (SHARE of all).
// Logits, which add up all places, agree too; a jump at a few places is within their tolerance.

export const TOLERANCE = 1e-3;
export const SHARE = 2e-3;

export function differences(page, native) {
  const names = Object.keys(native).filter((name) => /^(logits|displacement|confidence)/.test(name));
  return Object.fromEntries(names.map((name) => {
    if (!page[name]) throw new Error(`the page did not save ${name}`);
    if (String(page[name].shape) !== String(native[name].shape)) {
      throw new Error(`${name} is ${page[name].shape} on the page, ${native[name].shape} natively`);
    }
    const compared = name.startsWith('displacement') ? sameMatch(name, page, native) : () => true;
    return [name, largest(page[name].values, native[name].values, compared)];
  }));
}

export function jumps(page, native) {
  return Object.fromEntries(Object.keys(native).filter((name) => name.startsWith('argmax')).map((name) => {
    const found = native[name].values;
    return [name, page[name].values.filter((best, i) => best !== found[i]).length / found.length];
  }));
}

// displacement is [N, pairs, 2, h, w], argmax [N, pairs, 1, h, w].
function sameMatch(name, page, native) {
  const argmax = name.replace('displacement', 'argmax');
  const [h, w] = native[name].shape.slice(-2);
  const place = (i) => Math.floor(i / (2 * h * w)) * h * w + (i % (h * w));
  return (i) => page[argmax].values[place(i)] === native[argmax].values[place(i)];
}

function largest(a, b, compared) {
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    if (!compared(i)) continue;
    const difference = Math.abs(a[i] - b[i]);
    if (Number.isNaN(difference)) return NaN;
    most = Math.max(most, difference);
  }
  return most;
}
