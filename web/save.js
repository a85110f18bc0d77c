// A view as a picture, a clip as a film. In: what is shown. Out: PNG, WebM and GIF, with a legend that stands for itself.

import { apart, besideName } from './beside.js';
import { estimatorName, paint, percent, script, seconds, speedOf, wait } from './dom.js';
import { stays } from './hero.js';
import { overlay } from './overlay.js';

const HEIGHT = 560; // of the picture, in pixels
const SIDE = 300;   // width of the legend
const GAP = 20;
const FONT = 'system-ui, sans-serif';
const RATE = 4_000_000; // bits per second of a film
const LEAST_DELAY = 2;  // hundredths of a second; GIF counts in them, and viewers do not respect less than two

// What is taken only when a GIF is made, and wanted without a network as well.
export const LATER = ['gif.js', 'vendor/gifenc.js'].map((file) => new URL(file, document.baseURI).href);

// view: {name, clip, maps, beside, wipe, scores, frame, look, opacity, wheel}; beside: what the maps are compared with, right of
// the wipe (0 to 1). Returns the canvas.
export function draw(canvas, { name, clip, maps, beside, wipe, scores, frame, look, opacity, wheel }) {
  const { kind, floor, sure } = look;
  const { crop } = clip.source;
  const width = Math.round((HEIGHT * crop.width) / crop.height);
  canvas.width = width + SIDE;
  canvas.height = HEIGHT;
  const context = canvas.getContext('2d');
  const still = document.createElement('canvas');
  context.fillStyle = '#fff';
  context.fillRect(0, 0, canvas.width, HEIGHT);
  context.drawImage(paint(still, clip.frames[frame]), 0, 0, width, HEIGHT);
  const [differs, seen] = ['difference', 'seen'].map((it) => kind === it);
  const lay = (from, to) => {
    context.save();
    context.beginPath();
    context.rect(from * width, 0, (to - from) * width, HEIGHT);
    context.clip();
    context.globalAlpha = opacity;
    context.imageSmoothingEnabled = seen || kind === 'arrows';
    context.drawImage(still, 0, 0, width, HEIGHT);
    context.restore();
  };
  const wiped = beside && !differs && !seen;
  const drawn = differs ? beside : seen ? scores.seen : maps;
  const map = overlay(still, drawn, frame, look);
  if (map) lay(0, wiped ? wipe : 1);
  if (map && wiped) {
    overlay(still, beside, frame, look);
    lay(wipe, 1);
    context.fillStyle = '#fff';
    context.fillRect(wipe * width - 1, 0, 2, HEIGHT);
  }

  const left = width + GAP;
  let y = GAP;
  const line = (text, { size = 14, colour = '#555', weight = 400 } = {}) => {
    context.font = `${weight} ${size}px ${FONT}`;
    context.fillStyle = colour;
    context.textBaseline = 'top';
    for (const part of wrapped(context, text, SIDE - 2 * GAP)) {
      context.fillText(part, left, y);
      y += Math.round(1.4 * size);
    }
  };
  const space = () => { y += 14; };
  line(name, { colour: '#111', weight: 600 });
  line(map
    ? `frame ${frame + 1} to ${frame + 2} of ${clip.frames.length}, at ${seconds(clip.times[frame])}`
    : `frame ${frame + 1} of ${clip.frames.length}, at ${seconds(clip.times[frame])}`);
  space();
  for (const { label, probability } of scores.top.slice(0, 3)) line(`${percent(probability)}  ${label}`, { colour: '#111' });
  space();
  const { estimator } = scores.settings;
  const what = ['confidence', 'difference'].includes(kind) ? kind : 'displacement';
  if (seen) line(`where the frame speaks for: ${scores.top[0].label}`, { colour: '#111' });
  else line(`${what} of ${maps.stage}${maps.probe ? ' (probe)' : ''}, ${estimatorName(estimator)}`, { colour: '#111' });
  if (beside && !seen) line(`${differs ? 'from' : 'right of the line:'} ${besideName(beside, estimator)}${map ? `; ${apart(beside, frame)}` : ''}`);
  space();
  if (kind === 'confidence' && map) {
    const [low, high] = maps.confidence_ranges[frame].map((end) => end.toFixed(2));
    line(`Dark is ${low}, bright is ${high}: the least and the largest of this map.`);
  }
  if (seen) line(`Class activation map. Dark is ${scores.seen.range[0].toFixed(1)}, bright is ${scores.seen.range[1].toFixed(1)}; one scale for the clip.`);
  if (differs) line(`Dark is 0, bright is ${beside.difference_highest.toFixed(2)} cells.`);
  if (kind === 'arrows') line('Arrows go from where something is to where it is in the next frame.');
  if (kind === 'colours') {
    const side = 110;
    context.save();
    context.beginPath();
    context.arc(left + side / 2, y + side / 2, side / 2, 0, 2 * Math.PI);
    context.clip();
    context.drawImage(wheel, left, y, side, side);
    context.restore();
    y += side + 12;
    const { cells, input_px, source_px } = speedOf(maps, frame);
    line(`Colour is direction. Full strength: ${cells.toFixed(2)} cells of the ${maps.grid.width} × ${maps.grid.height} map, `
      + `${input_px.toFixed(1)} pixels of the network’s input, ${source_px.toFixed(1)} of the video; ${maps.legend.scaling === 'pair' ? 'each pair of frames has its own scale' : 'one scale for the clip'}.`);
  }
  if (floor) line(`Moves of less than ${floor.toFixed(2)} cells are left out.`);
  if (sure) line(`Places of less confidence than ${sure.toFixed(2)} are left out.`);
  space();
  line('MotionLens', { size: 12, colour: '#888' });
  return canvas;
}

async function picture(view) {
  const canvas = draw(document.createElement('canvas'), view);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
  return { blob, extension: 'png' };
}

// Every pair of the clip once, as long as it took. It is recorded while it plays.
async function film(view, tell) {
  const mimeType = ['video/webm;codecs=vp9', 'video/webm;codecs=vp8', 'video/webm', 'video/mp4']
    .find((type) => globalThis.MediaRecorder?.isTypeSupported(type));
  if (!mimeType) throw new Error('This browser cannot record a film. Save a GIF instead.');
  const canvas = draw(document.createElement('canvas'), { ...view, frame: 0 });
  const recorder = new MediaRecorder(canvas.captureStream(), { mimeType, videoBitsPerSecond: RATE });
  const parts = [];
  recorder.addEventListener('dataavailable', ({ data }) => parts.push(data));
  const stopped = new Promise((resolve, reject) => {
    recorder.addEventListener('stop', resolve);
    recorder.addEventListener('error', ({ error }) => reject(error ?? new Error('The browser stopped recording.')));
  });
  recorder.start();
  const { length } = view.maps.displacement;
  for (let frame = 0; frame < length; frame++) {
    tell(`Recording, pair ${frame + 1} of ${length}`);
    draw(canvas, { ...view, frame });
    await wait(stays(view.clip.times, frame));
  }
  draw(canvas, { ...view, frame: length - 1 }); // the last one ends where its time does
  recorder.stop();
  await stopped;
  const type = mimeType.split(';')[0];
  return { blob: new Blob(parts, { type }), extension: type.split('/')[1] };
}

// Every pair of the clip once, over and over: each for as long as it took, to a hundredth of a second. Roundings do not add up.
async function movingPicture(view, tell) {
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const worker = new Worker(script('gif.js'), { type: 'module' });
  const ask = (message, transfer = []) => new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data));
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(`The GIF could not be made${event.message ? `: ${event.message}` : ''}.`));
    };
    worker.postMessage(message, transfer);
  });
  try {
    const { length } = view.maps.displacement;
    const at = view.clip.times.map((time) => Math.round(100 * time)); // as the program does it
    for (let frame = 0; frame < length; frame++) {
      tell(`Drawing, pair ${frame + 1} of ${length}`);
      draw(canvas, { ...view, frame });
      const picture = context.getImageData(0, 0, canvas.width, canvas.height);
      const hundredths = Math.max(LEAST_DELAY, at[frame + 1] - at[frame]);
      await ask({ picture, delay: 10 * hundredths }, [picture.data.buffer]);
    }
    const { bytes } = await ask({ end: true });
    return { blob: new Blob([bytes], { type: 'image/gif' }), extension: 'gif' };
  } finally {
    worker.terminate();
  }
}

// By kind of file, (view, tell) → {blob, extension}; tell(text): how far it is.
export const drawn = { png: picture, webm: film, gif: movingPicture };

export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  Object.assign(document.createElement('a'), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function wrapped(context, text, width) {
  const lines = [''];
  for (const word of text.split(' ')) {
    const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
    if (context.measureText(longer).width <= width || !lines.at(-1)) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}
