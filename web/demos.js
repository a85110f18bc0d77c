// The demo clips. In: clips/index.json. Out: moving thumbnails and the list in the header, both open a clip.

import { $, element } from './dom.js';

export async function showDemos(open) {
  const response = await fetch('clips/index.json');
  if (!response.ok) return;
  const clips = (await response.json()).map(({ file, title }) => ({ title, url: `clips/${file}` }));
  $('demos').replaceChildren(...clips.map((clip) => element('li', {}, thumbnail(clip, open))));
  $('demo-select').append(...clips.map(({ title }, i) => element('option', { value: i, textContent: title })));
  $('demo-select').addEventListener('change', ({ target }) => {
    const clip = clips[target.value];
    target.value = ''; // a menu of actions: the same clip can be chosen again
    if (clip) open(clip);
  });
}

function thumbnail(clip, open) {
  const video = element('video', {
    src: clip.url, muted: true, loop: true, playsInline: true, preload: 'auto', ariaHidden: 'true', tabIndex: -1,
  });
  const button = element('button', { type: 'button' }, video, element('span', { textContent: clip.title }));
  button.addEventListener('click', () => open(clip));
  return button;
}
