// What the map is compared with: the other estimator's map, the way back, or another model's. In: the worker's 'beside'
// messages. Out: which of them lies beside the map that is shown, and how far apart the two are.

import { $, estimatorName, percent } from './dom.js';

export class Beside {
  #maps = null;     // those that are shown
  #asked = 0;       // id of the question
  #ask;
  #onChange;

  // ask({stage, what}) puts a question to the worker and gives its id, or 0 where it cannot now; onChange(message) follows
  // what is there to compare with: null where nothing is.
  constructor({ ask, onChange }) {
    this.#ask = ask;
    this.#onChange = onChange;
    $('beside').addEventListener('change', () => {
      if ($('beside').value === 'choose') {
        $('beside').value = '';
        $('other-files').click();
      }
      this.#question();
    });
    $('wipe').addEventListener('input', () => this.#wipe());
    $('wipe').addEventListener('click', (event) => event.stopPropagation()); // it is not the point under it that is meant
    this.#wipe();
  }

  // None, while there is no result on the page: an answer that is on its way is not shown.
  setMaps(maps) {
    this.#maps = maps;
    this.#asked = 0;
    this.#question();
  }

  setSettings({ estimator }) {
    const other = estimatorName(estimator === 'soft' ? 'kernel' : 'soft');
    $('beside').querySelector('[value=estimator]').textContent = other;
  }

  // Another model was chosen, the worker's info of it; or none, and why.
  chosen(info, message = '') {
    const choice = $('beside').querySelector('[value=model]');
    choice.hidden = choice.disabled = !info;
    if (info) choice.textContent = `the other ${info.backbone}`;
    if (info || $('beside').value === 'model') {
      $('beside').value = info ? 'model' : '';
      this.#question();
    }
    if (message) $('beside-text').textContent = message;
  }

  // Whether the answer was to this question.
  answer(message) {
    if (message.id !== this.#asked) return;
    this.#asked = 0;
    this.#show(message);
  }

  // There will be no answer; message: why.
  fail(id, message = '') {
    if (id !== this.#asked) return;
    this.#asked = 0;
    this.#show(null);
    $('beside-text').textContent = message;
  }

  #question() {
    this.#show(null);
    const what = $('beside').value;
    if (!what || !this.#maps) return;
    this.#asked = this.#ask({ stage: this.#maps.stage, what });
    if (this.#asked) $('beside-text').textContent = 'comparing';
  }

  #show(message) {
    $('beside-text').textContent = '';
    $('view').querySelector('[value=difference]').disabled = !message;
    if (!message && $('view').value === 'difference') $('view').value = 'colours';
    this.#onChange(message);
  }

  #wipe() {
    $('stack').style.setProperty('--wipe', Number($('wipe').value) / 100);
    $('wipe').setAttribute('aria-valuetext', `${$('wipe').value} % of the picture shows the map, the rest what it is compared with`);
  }
}

// How far apart the two maps of a pair are, in words.
export function apart({ what, difference_means, top }, pair) {
  const cells = `${difference_means[pair].toFixed(2)} cells`;
  if (what === 'model') return `the two models’ maps differ by ${cells} on average; the other says: ${top[0].label}, ${percent(top[0].probability)}`;
  return what === 'backward' ? `there and back misses by ${cells} on average` : `the two differ by ${cells} on average`;
}

export const besideName = ({ what }, estimator) => ({ backward: 'backward', model: 'other model' }[what]
  ?? estimatorName(estimator === 'soft' ? 'kernel' : 'soft'));
