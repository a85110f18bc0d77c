// What stands beside the picture: actions, legend, settings, facts. In: the worker's messages. Out: text and choices.

import { $, duration, element, estimatorName, fill, percent, speedOf } from './dom.js';

export function showScores({ top }) {
  $('scores').replaceChildren(
    ...top.map(({ label, probability }) =>
      element('li', {},
        element('span', { textContent: label }),
        element('b', { textContent: percent(probability) }),
        bar(probability))),
  );
}

function bar(probability) {
  const bar = element('i', { ariaHidden: 'true' });
  bar.style.setProperty('--share', probability);
  return bar;
}

// What the colours of a pair mean.
export function showLegend(maps, pair) {
  const { legend, grid } = maps;
  const { cells, input_px, source_px, text } = speedOf(maps, pair);
  fill($('speed'), [
    [cells.toFixed(2), `cells of the ${grid.width} × ${grid.height} map`],
    [input_px.toFixed(1), 'pixels of the network’s input'],
    [source_px.toFixed(1), 'pixels of the video'],
  ]);
  $('legend').title = text;
  $('per-pair').checked = legend.scaling === 'pair';
  // Each confidence map is drawn from its own least to its own largest value.
  const range = maps.confidence_ranges[pair];
  $('confidence-range').hidden = !range;
  if (!range) return;
  $('confidence-range').replaceChildren(
    element('span', { textContent: `confidence ${range[0].toFixed(2)}` }),
    element('i', { ariaHidden: 'true' }),
    element('span', { textContent: range[1].toFixed(2) }),
  );
}

// Of every frame there are maps of stages with modules only, and of the one that is shown first.
export function offerStages(stages, every, first) {
  for (const input of $('stages').querySelectorAll('input')) {
    const { trained } = stages.find(({ name }) => name === input.value);
    input.disabled = every && !trained && input.value !== first;
  }
}

export function showStages(stages, chosen, onChoose) {
  const choices = stages.map(({ name, trained }) => {
    const input = element('input', { type: 'radio', name: 'stage', value: name, checked: name === chosen });
    input.addEventListener('change', () => onChoose(name));
    const text = element('span', {}, name, ...(trained ? [] : [' ', element('small', { textContent: 'probe' })]));
    return element('label', {}, input, text);
  });
  $('stages').querySelector('.segments').replaceChildren(...choices);
}

export function noteStage({ stage, probe }) {
  $('stage-note').textContent = probe
    ? `${stage} has no trained motion module: this is a probe, the correlation of its features as they are.`
    : '';
}

export function chooseStage(name) {
  check($('stages'), name);
}

export function chooseEstimator(name) {
  check($('estimators'), name);
}

function check(group, value) {
  for (const input of group.querySelectorAll('input')) input.checked = input.value === value;
}

export function showFacts({ source, indices, approximate }, scores) {
  const few = indices.length <= 64;
  const numbers = (few ? indices.map((i) => i + 1).join(', ') : `${indices[0] + 1} to ${indices.at(-1) + 1}`) || 'the last that came';
  const frames = approximate ? 'near those asked for, by the browser’s player' : numbers;
  const rotation = source.rotation ? `, turned by ${source.rotation}°` : '';
  fill($('facts'), [
    ['Video', `${source.width} × ${source.height}${rotation}, ${source.codec}`],
    ['Frames shown', source.frames ? `${frames} of ${source.frames}` : frames],
    ['Estimator', estimatorName(scores.settings.estimator)],
    ['Backend', scores.backend === 'gpu' ? `WebGPU, ${scores.adapter}` : `${processor(scores)}, in WebAssembly`],
    ...(scores.start ? [['WebGPU’s start', started(scores.start)]] : []),
    ['Memory', `${(scores.memory / 1e6).toFixed()} MB at most`],
    ...(scores.alone ? [['Why one thread', scores.alone]] : []),
    ['Stages run', scores.ran.join(', ') || 'none'],
    ['Stages kept', scores.reused.join(', ') || 'none'],
  ]);
  const rows = Object.entries(scores.ms).map(([part, ms]) =>
    element('tr', {}, element('th', { scope: 'row', textContent: part }), element('td', { textContent: duration(ms) })));
  $('times').tBodies[0].replaceChildren(...rows);
}

const started = ({ load, tuning, first, later }) =>
  `${duration(load)} for weights and kernels${tuning ? `, ${duration(tuning)} to find the fastest of them` : ''}; a small clip `
  + `${duration(first)} the first time, then ${duration(later)}`;

export function showBackend({ choice, why }) {
  chooseBackend(choice);
  $('backend-why').textContent = why;
  $('backend').title = `Where the network runs. ${why}`;
}

// Whether there is such a choice.
export function chooseBackend(choice) {
  const known = [...$('backend').options].some(({ value }) => value === choice);
  if (known) $('backend').value = choice;
  return known;
}

// What the network ran on: "CPU, 2 threads".
export function processor({ backend, threads }) {
  if (backend === 'gpu') return 'WebGPU';
  return `${backend.toUpperCase()}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`;
}

export function showNotes(notes) {
  $('notes').replaceChildren(...notes.map((textContent) => element('p', { textContent })));
}
