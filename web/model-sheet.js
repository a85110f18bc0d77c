// What is known of the model: numbers, actions, its card. In: the worker's 'model' message, the folder's README.md. Out: a
// sheet.

import { $, element, estimatorName, fill } from './dom.js';

// Multiplications and additions of a clip: {stage: count}.
function operations(counts) {
  const billions = (count) => (count / 1e9).toFixed(2);
  const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const parts = Object.entries(counts).filter(([, count]) => count >= 5e6).map(([name, count]) => `${name} ${billions(count)}`);
  return `${billions(all)} billion multiply-adds for a clip: ${parts.join(', ')}`;
}

export class ModelSheet {
  #card = async () => null; // the card's text, or null where there is none

  constructor() {
    $('model-sheet-open').addEventListener('click', () => this.#open());
    $('model-sheet-close').addEventListener('click', () => $('model-sheet').close());
    $('open-model').addEventListener('click', () => $('model-sheet').close());
  }

  // card: where it is, or a file of the folder that was opened, or nothing.
  set(info, card) {
    const { estimator, sigma, temperature, patch } = info.settings;
    const modules = info.stages.filter(({ trained }) => trained).map(({ name }) => name);
    fill($('model-facts'), [
      ['Network', info.backbone],
      ['Motion after', modules.join(', ') || 'no stage: it has no motion module'],
      ['Clip', `${info.frames} frames of ${info.input_size} × ${info.input_size} pixels, ${info.sampling}`],
      ['Parameters', `${info.parameters.toLocaleString('en')}, ${((4 * info.parameters) / 1e6).toFixed(1)} MB in memory`],
      ['Operations', operations(info.multiply_adds)],
      ['Estimation', `${estimatorName(estimator)}, window ${patch} × ${patch}, σ ${sigma} cells, τ ${temperature}`],
    ]);
    $('model-labels').replaceChildren(...info.labels.map((label) => element('li', { textContent: label })));
    this.#card = async () => {
      if (card instanceof Blob) return card.text();
      const response = card ? await fetch(card).catch(() => null) : null;
      return response?.ok ? response.text() : null;
    };
  }

  async #open() {
    $('model-sheet').showModal();
    const text = await this.#card();
    $('model-card').textContent = text ?? 'There is no README.md beside this model.';
  }
}
