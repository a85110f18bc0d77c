// A walk through a demo clip, with the page itself. In: steps. Out: a panel that points at things.

import { $, wait } from './dom.js';

// What a step points at, says, and does before it says it.
const STEPS = [
  {
    at: 'transport', title: 'A few frames of a video',
    text: 'The network does not watch the whole video: it looks at eight frames, spread over the clip. Play them here, or step from one to the next.',
    does: ({ frame }) => frame(2),
  },
  {
    at: 'picture', title: 'Displacement',
    text: 'For each place of a frame it looks for the place in the next frame that is most like it. The colour says which way that lies, its strength how far. What keeps still has no colour.',
    does: ({ view }) => view('colours'),
  },
  {
    at: 'legend', title: 'What the colours mean',
    text: 'The wheel is the key: what is coloured like its right side moves to the right. If colours are not for you, choose arrows under the picture.',
  },
  {
    at: 'point', title: 'Correlation',
    text: 'This is one place that moves, looked into. The third picture shows how like it every place around it is, one frame later: bright is alike. The best match has a frame around it. Click on any other place, or move with the arrow keys.',
    does: ({ inspect }) => inspect(),
  },
  {
    at: 'try', title: 'Soft-argmax, and with a kernel',
    text: 'Soft-argmax takes the mean of all matches, so false ones far away pull at it. With the kernel, a Gaussian around the best match keeps them out. Move σ: the narrower, the nearer to the best match alone. τ says how much the better matches outweigh the others.',
  },
  {
    at: 'picture', title: 'Confidence',
    text: 'How good was the best match? Bright is good. Plain surfaces match everywhere a little, and what vanishes behind something matches nowhere: do not trust arrows there.',
    does: ({ view, close }) => { close(); view('confidence'); },
  },
  {
    at: 'actions', title: 'The action',
    text: 'Both maps become features, are added to those of the network, and help to name what is happening. Change the estimator below, and see whether it changes its mind.',
    does: ({ view }) => view('colours'),
  },
  {
    at: 'open-video', title: 'Now yours',
    text: 'Open a video of your own, or drop one anywhere. It is not sent anywhere: all of this happened in your browser.',
  },
];
const PATIENCE = 60_000; // ms for the demo clip
const GLANCE = 100; // ms from one look at it to the next

export class Tour {
  #page;
  #step = -1;

  // page: {open(), frame(n), view(kind), inspect(), close()}: what a step may do. open() opens the demo clip.
  constructor(page) {
    this.#page = page;
    for (const id of ['tour-start', 'tour-again']) $(id).addEventListener('click', () => this.#start());
    $('tour-next').addEventListener('click', () => this.#go(this.#step + 1));
    $('tour-back').addEventListener('click', () => this.#go(this.#step - 1));
    $('tour-end').addEventListener('click', () => this.end());
    $('tour').addEventListener('keydown', ({ key }) => { if (key === 'Escape') this.end(); });
  }

  async #start() {
    $('help').close();
    this.#page.open();
    if (await shown()) this.#go(0);
  }

  #go(step) {
    if (step < 0 || step >= STEPS.length) return this.end();
    this.#step = step;
    const { at, title, text, does } = STEPS[step];
    does?.(this.#page);
    this.#mark($(at));
    $('tour-title').textContent = title;
    $('tour-text').textContent = text;
    $('tour-count').textContent = `${step + 1} of ${STEPS.length}`;
    $('tour-back').disabled = step === 0;
    $('tour-next').textContent = step === STEPS.length - 1 ? 'Done' : 'Next';
    $('tour').hidden = false;
    $('tour-title').focus({ preventScroll: true });
    // On a phone the panel lies over the lower part of the screen.
    $(at).scrollIntoView({ block: matchMedia('(max-width: 56rem)').matches ? 'start' : 'nearest' });
  }

  #mark(target) {
    document.querySelectorAll('.toured').forEach((other) => other.classList.remove('toured'));
    target?.classList.add('toured');
  }

  end() {
    this.#mark(null);
    $('tour').hidden = true;
    $('help-open').focus();
  }
}

// Whether a result comes.
async function shown() {
  const until = performance.now() + PATIENCE;
  await wait(GLANCE); // the clip has begun to open by then
  while (performance.now() < until) {
    const { state } = document.body.dataset;
    if (state === 'result') return true;
    if (state === 'error') return false;
    await wait(GLANCE);
  }
  return false;
}
