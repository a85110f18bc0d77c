// The page: buttons and drops go in as requests to the worker, its answers come out as text and pictures.
// There is no mathematics here; the worker (worker.js, crates/motion-web) owns the network and all drawing of maps.

import { load, showDemos } from './demos.js';
import { $, duration, paint, percent } from './dom.js';
import { Engine } from './engine.js';
import { Hero } from './hero.js';
import * as side from './side.js';
import { Strip } from './strip.js';
import { VideoFrames } from './video-frames.js';

const SHIFT_NOTE = 'Temporal shift: the first and the last frame lack a neighbour, so the first and the last map are weaker.';

const engine = new Engine();
const hero = new Hero((frame, maps) => {
  strip.mark(frame);
  side.showConfidenceRange(maps?.confidence_ranges[frame]);
});
const strip = new Strip((frame) => { hero.pause(); hero.show(frame); });

// A result is {file, name, clip, maps: {stage: message}, scores}, with the messages of worker.js.
let shown = null;      // on the page
let good = null;       // the last one that was complete
let live = null;       // the one whose clip the worker holds
let work = null;       // {id, type, result, quiet, maps, scores}: the request that is being computed
let failure = '';      // what stands where a result would have stood
let stage = '';        // whose maps are shown, or asked for
let estimator = '';    // chosen by the user
let sent = '';         // known to the worker
let loading = 0;       // id of the request for a model
let model = null;      // {backbone, …}: the one that answers

// ---------------------------------------------------------------- requests

function begin(message, result, quiet) {
  if (work) engine.cancel(work.id);
  work = { id: engine.request(message), type: message.type, result, quiet, maps: {}, scores: null };
  showProgress({ text: 'Starting', done: 0, total: 0 });
}

// `quiet`: the same video again, behind the result that is on the page.
function openVideo(file, name = file.name, quiet = false) {
  failure = '';
  if (!quiet) {
    hero.pause();
    shown = null;
  }
  if (sent !== estimator) engine.request({ type: 'settings', estimator });
  sent = estimator;
  live = { file, name, clip: null, maps: {}, scores: quiet ? shown.scores : null };
  begin({ type: 'open', file, name }, live, quiet);
}

function openAgain() {
  openVideo(shown.file, shown.name, true);
}

function changeEstimator(chosen) {
  estimator = chosen;
  if (shown !== live || work?.type === 'open') return openAgain();
  sent = estimator;
  begin({ type: 'settings', estimator }, shown, true);
}

function changeBackend(choice) {
  if (shown && shown === live && work?.type !== 'open') return begin({ type: 'backend', choice }, shown, true);
  engine.request({ type: 'backend', choice });
  if (work?.type === 'open') openVideo(live.file, live.name);
  else if (shown) openAgain();
}

function changeStage(chosen) {
  stage = chosen;
  if (shown.maps[stage]) showMaps(shown.maps[stage]);
  else if (work) return; // asked for when that has ended
  else if (shown !== live) openAgain();
  else begin({ type: 'stage', stage }, shown, true);
}

function loadModel(message) {
  if (work) engine.cancel(work.id);
  if (work) stopWork();
  live = null; // the worker forgets the clip
  loading = engine.request({ type: 'load-model', ...message });
  $('model-name').textContent = 'loading the model';
}

function openFiles(files) {
  const [config, weights] = ['.json', '.safetensors'].map((end) => files.find(({ name }) => name.endsWith(end)));
  if (config && weights) loadModel({ files: { config, weights } });
  else if (config || weights) {
    fail(`A model is two files, chosen together: config.json and model.safetensors. Here is only ${(config ?? weights).name}.`);
  } else if (files.length) openVideo(files[0]);
}

async function openDemo(clip) {
  const { blob, problem } = await load(clip);
  if (blob) openVideo(blob, clip.title);
  else fail(`The demo clip did not load (${problem}). Is the server still running?`);
}

// ---------------------------------------------------------------- answers

// Requests whose maps and scores take the place of those on the page, all at once.
const replaces = (type) => type === 'settings' || type === 'backend';

// Answers to a request that has been replaced since are of no interest.
function on(type, answer) {
  engine.addEventListener(type, ({ detail }) => {
    if (work?.id === detail.id) answer(detail, work.result);
  });
}

on('progress', showProgress);

on('clip', (clip, result) => {
  result.clip = clip;
  show(result, work.quiet ? hero.frame : 0);
});

on('maps', (maps, result) => {
  work.maps[maps.stage] = maps;
  // After a change of settings the old maps stay beside the old action, until both are new.
  if (replaces(work.type)) return;
  result.maps[maps.stage] = maps;
  if (maps.stage === stage) showMaps(maps);
});

on('scores', (scores, result) => {
  work.scores = scores;
  if (replaces(work.type)) return;
  result.scores = scores;
  showScores(result);
});

on('done', (_, result) => {
  const { type, maps, scores } = work;
  work = null;
  if (replaces(type)) Object.assign(result, { maps, scores });
  if (type !== 'stage') good = result;
  showScores(result);
  const [best] = result.scores.top;
  if (type === 'stage') say(`Maps of ${stage}.`);
  else say(`${result.name}: ${best.label}, ${percent(best.probability)}.`);
  changeStage(stage);
  layout();
});

on('cancelled', stopWork);

on('error', ({ message }) => {
  stopWork();
  fail(message);
});

engine.addEventListener('ready', ({ detail: { wheel } }) => paint($('wheel'), wheel));

engine.addEventListener('model', ({ detail: { id, info } }) => {
  if (id !== loading) return; // the same model again, after a restart
  model = info;
  $('model-name').textContent = model.backbone;
  $('open-model').title = `${info.text} Open another: its config.json and model.safetensors.`;
  stage = info.default_stage;
  estimator = sent = info.settings.estimator;
  side.showStages(info.stages, stage, changeStage);
  side.chooseEstimator(estimator);
});

engine.addEventListener('progress', ({ detail: { id, text } }) => {
  if (id === loading) $('model-name').textContent = text;
});

engine.addEventListener('done', ({ detail: { id } }) => {
  if (id !== loading) return;
  loading = 0;
  // Another model has forgotten the clip, and its numbers are not those on the page.
  if (good) openVideo(good.file, good.name);
  good = null;
});

engine.addEventListener('error', ({ detail: { id, message } }) => {
  if (id === loading) modelFailed(message);
});

engine.addEventListener('restarted', ({ detail: { message, couldStart, lostModel } }) => {
  if (work) stopWork();
  live = null;
  sent = '';
  if (!couldStart) fail(`${message} This browser may lack module workers or WebAssembly with SIMD: a newer one has both.`);
  else if (lostModel) modelFailed(message);
  else fail(`${message} It has been started again and is ready for another video; this one may be too much for it.`);
});

engine.addEventListener('saved', ({ detail: { files } }) => {
  for (const { name, mime, bytes } of files) {
    const url = URL.createObjectURL(new Blob([bytes], { type: mime }));
    Object.assign(document.createElement('a'), { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }
});

// Put the page back to what it last showed in full.
function stopWork() {
  const { type, result } = work;
  work = null;
  if (type === 'open') live = null;
  if (replaces(type)) {
    live = null;
    estimator = result.scores.settings.estimator;
    side.chooseEstimator(estimator);
  }
  shown = null;
  if (good) show(good);
  else layout();
}

function modelFailed(message) {
  loading = 0;
  $('model-name').textContent = model?.backbone ?? 'no model'; // the one before it stays
  fail(message);
}

// ---------------------------------------------------------------- the browser's player, where the worker asks for it

on('need-video-element', async ({ id, reason }, result) => {
  result.video = new VideoFrames(result.file);
  try {
    engine.reply(id, { type: 'video-element', ...(await result.video.open()) });
  } catch {
    giveUpVideo(id, result, `${reason} The browser’s player cannot open it either. If another program plays it, convert it to MP4 (H.264) or WebM (VP9).`);
  }
});

on('seek', async ({ id, times }, result) => {
  const tell = (done, total) => {
    if (work?.id === id) showProgress({ step: 'decode', done, total, text: 'Asking the browser’s player for frames' });
  };
  try {
    const frames = await result.video.frames(times, tell);
    result.video.close();
    engine.reply(id, { type: 'approximate-frames', frames, times, name: result.name }, frames);
  } catch (error) {
    giveUpVideo(id, result, `The browser’s player opened the file, but ${error.message}.`);
  }
});

function giveUpVideo(id, result, reason) {
  result.video.close();
  if (work?.id !== id) return;
  engine.cancel(id);
  stopWork();
  fail(reason);
}

// ---------------------------------------------------------------- what is on the page

function show(result, frame = 0) {
  shown = result;
  hero.setClip(result.clip, frame);
  strip.setClip(result.clip);
  strip.mark(hero.frame);
  const visible = result.maps[stage] ?? Object.values(result.maps)[0];
  if (visible) {
    stage = visible.stage;
    showMaps(visible);
  }
  if (result.scores) showScores(result);
  layout();
}

function showMaps(maps) {
  hero.setMaps(maps);
  strip.setMaps(maps);
  strip.mark(hero.frame);
  side.showLegend(maps);
  side.noteStage(maps);
  side.chooseStage(maps.stage);
}

function showScores({ clip, scores }) {
  side.showScores(scores);
  side.showFacts(clip, scores);
  side.showBackend(scores);
  side.showNotes([...scores.notes, ...clip.notes, ...(model.backbone.startsWith('tsm') ? [SHIFT_NOTE] : [])]);
  side.chooseEstimator(scores.settings.estimator);
  $('run-facts').textContent = `${side.processor(scores)} · ${duration(scores.ms.total)}`;
  layout();
}

let saidStep = '';
function showProgress({ step, done, total, text }) {
  $('progress-text').textContent = total > 1 ? `${text}, ${done} of ${total}` : text;
  $('progress-bar').max = total || 1;
  if (total) $('progress-bar').value = done;
  else $('progress-bar').removeAttribute('value');
  if (step && step !== saidStep) say(text);
  saidStep = step ?? '';
  layout();
}

function fail(message) {
  failure = message;
  hero.pause();
  layout();
}

function say(text) {
  $('status').textContent = text;
}

function layout() {
  const picture = shown?.clip && !failure;
  const busy = work && !failure;
  $('empty').hidden = Boolean(failure || picture || busy);
  $('picture').hidden = $('transport').hidden = $('strip').hidden = !picture;
  $('side').hidden = !picture || !shown.scores;
  $('progress').hidden = !busy;
  $('failure').hidden = !failure;
  $('run-facts').hidden = $('side').hidden;
  $('failure-text').textContent = failure;
  $('back').hidden = !good;
  $('retry').textContent = model ? 'Open another video' : 'Open another model';
  document.body.dataset.state = failure ? 'error' : busy ? 'busy' : picture ? 'result' : 'empty';
}

// ---------------------------------------------------------------- buttons and drops

function choose(input) {
  input.addEventListener('change', () => {
    openFiles([...input.files]);
    input.value = ''; // so that the same file can be chosen again
  });
}

choose($('video-file'));
choose($('model-files'));
for (const id of ['open-video', 'open-video-large']) $(id).addEventListener('click', () => $('video-file').click());
$('open-model').addEventListener('click', () => $('model-files').click());
$('retry').addEventListener('click', () => $(model ? 'video-file' : 'model-files').click());
$('back').addEventListener('click', () => {
  failure = '';
  show(good);
});
$('cancel').addEventListener('click', () => engine.cancel(work.id));
$('save').addEventListener('click', () => engine.request({ type: 'save-clip' }));
$('backend').addEventListener('change', ({ target }) => changeBackend(target.value));
$('estimators').addEventListener('change', ({ target }) => changeEstimator(target.value));

addEventListener('dragover', (event) => {
  event.preventDefault();
  document.body.classList.add('dropping');
});
addEventListener('dragleave', ({ relatedTarget }) => relatedTarget || document.body.classList.remove('dropping'));
addEventListener('drop', (event) => {
  event.preventDefault();
  document.body.classList.remove('dropping');
  openFiles([...event.dataTransfer.files]);
});

engine.start();
const asked = new URLSearchParams(location.search);
const wanted = asked.get('backend');
const precision = asked.get('precision') === 'f16' ? 'f16' : 'f32';
engine.request({ type: 'backend', choice: side.chooseBackend(wanted) ? wanted : 'auto', precision });
loadModel({ url: new URL('models/default/', document.baseURI).href });
showDemos(openDemo);
layout();
