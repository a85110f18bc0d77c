// The demo clips, and those in which matching goes wrong. In: clips/index.json. Out: moving thumbnails and the list in the
// header, both open a clip; the clips.

import { $, element } from './dom.js';

export async function showDemos(open) {
  const response = await fetch('clips/index.json');
  if (!response.ok) return [];
  const clips = (await response.json()).map(({ file, title, fails = '' }) => ({ file, title, fails, url: `clips/${file}` }));
  const [right, wrong] = [clips.filter(({ fails }) => !fails), clips.filter(({ fails }) => fails)];
  const [thumbnails, failures] = [right, wrong].map((some) => some.map((clip) => thumbnail(clip, open)));
  for (const [list, buttons] of [['demos', thumbnails], ['failures', failures]]) {
    $(list).replaceChildren(...buttons.map((button) => element('li', {}, button)));
  }
  const choice = (clip) => element('option', { value: clips.indexOf(clip), textContent: clip.title });
  $('demo-select').append(...right.map(choice), element('optgroup', { label: 'Where it goes wrong' }, ...wrong.map(choice)));
  $('demo-select').addEventListener('change', ({ target }) => {
    const clip = clips[target.value];
    target.value = ''; // a menu of actions: the same clip can be chosen again
    if (clip) open(clip);
  });
  play(right, thumbnails);
  // Fetched when they can be seen.
  $('gallery').addEventListener('toggle', () => play(wrong, failures), { once: true });
  return clips;
}

async function play(clips, thumbnails) {
  // Whole files, one after the other: players that load by themselves can hold every connection that a browser
  // has for a host, and the network's weights would wait for ever.
  for (const [i, clip] of clips.entries()) {
    const { src } = await load(clip);
    if (src) thumbnails[i].querySelector('video').src = src;
  }
}

// The clip's file, fetched once.
export async function load(clip) {
  if (clip.blob) return clip;
  const response = await fetch(clip.url).catch((error) => ({ statusText: error.message }));
  if (!response.ok) return { problem: `${clip.url}: ${response.status ?? ''} ${response.statusText}` };
  clip.blob = await response.blob();
  clip.src = URL.createObjectURL(clip.blob);
  return clip;
}

function thumbnail(clip, open) {
  const video = element('video', { muted: true, loop: true, playsInline: true, ariaHidden: 'true', tabIndex: -1 });
  // Where nothing shall move by itself the first frame stays.
  video.autoplay = !matchMedia('(prefers-reduced-motion: reduce)').matches;
  const button = element('button', { type: 'button' }, video, element('span', { textContent: clip.title }));
  button.addEventListener('click', () => open(clip));
  return button;
}
