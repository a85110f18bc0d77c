// Single keys, and the sheet that lists them. In: key presses. Out: clicks on what is there to be clicked.

import { $, element } from './dom.js';

const KEPT = 'motionlens-keys';

// Each stands for a button that can be seen.
const KEYS = [
  { key: ' ', name: 'Space', does: 'play or pause', press: () => [$('play')] },
  { key: 'ArrowLeft', name: '←', does: 'a frame back', press: () => [$('previous')] },
  { key: 'ArrowRight', name: '→', does: 'a frame on', press: () => [$('next')] },
  ...[1, 2, 3, 4, 5].map((n) => ({ key: String(n), press: () => [$('stages').querySelectorAll('input')[n - 1]] })),
  { name: '1–5', does: 'the stages, from the first' },
  { key: 'a', name: 'A', does: 'the maps of all stages below each other', press: () => [$('all-stages')] },
  { key: 'e', name: 'E', does: 'the other estimator', press: () => [$('estimators').querySelector('input:not(:checked)')] },
  { key: 'v', name: 'V', does: 'colours, arrows, confidence, the action', press: () => next($('view')) },
  { key: 'c', name: 'C', does: 'compare with the other estimator, the way back', press: () => next($('beside')) },
  { key: 'i', name: 'I', does: 'look into a point, or not; arrows move it', press: () => [$('inspect')] },
  { key: 's', name: 'S', does: 'save the picture', press: () => [$('save').querySelector('button')] },
  { key: 'l', name: 'L', does: 'copy a link', press: () => [$('share')] },
  { key: 'o', name: 'O', does: 'open a video', press: () => [$('open-video')] },
  { key: '?', name: '?', does: 'this list', press: () => [$('help-open')] },
];

// The next choice of a list.
function next(list) {
  if (!list.checkVisibility()) return [];
  const choices = [...list.options].filter(({ disabled, dataset }) => !disabled && !dataset.asks);
  list.value = choices[(choices.indexOf(list.selectedOptions[0]) + 1) % choices.length].value;
  list.dispatchEvent(new Event('change', { bubbles: true }));
  return [];
}

export function listen() {
  const rows = KEYS.filter(({ does }) => does).map(({ name, does }) =>
    element('div', {}, element('dt', {}, element('kbd', { textContent: name })), element('dd', { textContent: does })));
  $('keys').replaceChildren(...rows);
  // Who speaks to the machine, or strays over the keys, can do without.
  const on = $('keys-on');
  on.checked = stored() !== 'off';
  on.addEventListener('change', () => store(on.checked ? 'on' : 'off'));
  $('help-open').addEventListener('click', () => $('help').showModal());
  $('help-close').addEventListener('click', () => $('help').close());
  addEventListener('keydown', (event) => {
    const { key, target, ctrlKey, altKey, metaKey, defaultPrevented } = event;
    if (!on.checked || ctrlKey || altKey || metaKey || defaultPrevented || $('help').open) return;
    // These have their own use for space, arrows and letters.
    if (target.closest?.('select, textarea, summary, input, button') && (key.length > 1 || key === ' ' || target.matches('select'))) return;
    const found = KEYS.find((one) => one.key === key.toLowerCase() || one.key === key);
    if (!found) return;
    event.preventDefault();
    // What is folded away can be pressed all the same, what is not there cannot.
    for (const button of found.press()) if (button && !button.disabled && !button.closest('[hidden]')) button.click();
  });
}

// Where nothing may be stored the keys work.
function stored() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null;
  }
}

function store(value) {
  try {
    localStorage.setItem(KEPT, value);
  } catch {
    // It holds until the page is closed.
  }
}
