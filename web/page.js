// The page: buttons and drops go in as requests to the worker, its answers come out as text and pictures.
// There is no mathematics here; the worker (worker.js, crates/motion-web) owns the network and all drawing of maps.

import { linked, remember, rememberModel, within } from './address.js';
import { Beside, besideName } from './beside.js';
import { Camera } from './camera.js';
import { Chart } from './chart.js';
import { load, showDemos } from './demos.js';
import { $, duration, paint, percent } from './dom.js';
import { Engine } from './engine.js';
import { Hero } from './hero.js';
import { listen } from './keys.js';
import { ModelSheet } from './model-sheet.js';
import { keepForLater } from './offline.js';
import { Point } from './point.js';
import { LATER, download, drawn } from './save.js';
import * as side from './side.js';
import { Strip } from './strip.js';
import { Timeline, isEvery } from './timeline.js';
import { Tour } from './tour.js';
import { VideoFrames } from './video-frames.js';

const SHIFT_NOTE = 'Temporal shift: the first and the last frame lack a neighbour, so the first and the last map are weaker.';

const SLIDERS = ['opacity', 'floor', 'sure', 'wipe']; // that say how the maps are laid over the frame

const engine = new Engine();
const hero = new Hero((frame, maps) => {
  strip.mark(frame);
  chart.mark(frame);
  if (maps) side.showLegend(maps, frame);
  point.setFrame(frame);
  writeLink();
});
const camera = new Camera((on) => {
  $('camera').textContent = on ? 'Stop webcam' : 'Webcam';
  $('camera').setAttribute('aria-pressed', String(on));
});
let compared = null; // what the maps are compared with, the worker's message
const beside = new Beside({
  ask(question) {
    if (work || camera.on || isEvery(shown.part.sampling)) return 0; // asked for again with the maps that it brings
    if (shown === live) return engine.request({ type: 'beside', ...question });
    openAgain();
    return 0;
  },
  onChange(message) {
    compared = message;
    hero.setBeside(message);
    strip.setBeside(message, message && besideName(message, shown.scores.settings.estimator));
    strip.mark(hero.frame);
    writeLink();
  },
});
const modelSheet = new ModelSheet();
const timeline = new Timeline(changePart);
const strip = new Strip((frame) => { hero.pause(); hero.show(frame); }, changeStage);
const chart = new Chart((frame) => { hero.pause(); hero.show(frame); });
const point = new Point({
  ask(question) {
    if (work) return false; // its maps come with it, and bring the question again
    if (shown !== live) openAgain();
    else asked = engine.request({ type: 'point', ...question });
    return !work;
  },
  keep: changeSettings,
  onChange: () => layout(),
});
for (const id of ['opacity', 'wipe']) $(id).addEventListener('input', () => writeLink());

// A result is {file, name, demo, clip, maps: {stage: message}, scores}, with the worker's messages (messages.md).
let shown = null;      // on the page
let good = null;       // the last one that was complete
let live = null;       // the one whose clip the worker holds
let work = null;       // {id, type, result, quiet, maps, scores}: the request that is being computed
let failure = '';      // what stands where a result would have stood
let stage = '';        // whose maps are shown, or asked for
let settings = {};     // of the estimation, chosen by the user
let sent = settings;   // known to the worker
let asked = 0;         // id of the question about a point
let otherLoading = 0;  // id of the request for a model to compare with
let saving = 0;        // id of the request for a file
let loading = 0;       // id of the request for a model
let model = null;      // {backbone, …}: the one that answers
let card = null;       // of the model that was asked for last
let link = linked();   // what the address asked for, until it is shown
let unmet = [];        // what of it cannot be
let assumed = [];      // of the model, because its checkpoint does not tell

// ---------------------------------------------------------------- requests

function begin(message, result, quiet) {
  if (work) engine.cancel(work.id);
  work = { id: engine.request(message), type: message.type, result, quiet, maps: {}, scores: null };
  showProgress({ text: 'Starting', done: 0, total: 0 });
}

// `quiet`: the same video again, behind the result that is on the page.
function openVideo({ file, name = file.name, demo = '', fails = '', part = {} }, quiet = false) {
  camera.stop();
  failure = '';
  if (!quiet) {
    hero.pause();
    shown = null;
    beside.setMaps(null);
  }
  if (sent !== settings) engine.request({ type: 'settings', ...settings });
  sent = settings;
  live = { file, name, demo, fails, part, clip: null, maps: {}, scores: quiet ? shown.scores : null };
  begin({ type: 'open', file, name, ...part }, live, quiet);
}

function openAgain() {
  openVideo(shown, true);
}

function changePart(part) {
  openVideo({ ...shown, part }, true);
}

// ---- the webcam: one clip after the other, each of what came last

async function startCamera() {
  try {
    failure = '';
    await camera.start(model?.frames ?? 8);
    if (work) engine.cancel(work.id);
    else watchCamera();
  } catch (error) {
    camera.stop();
    fail(error.message);
  }
}

async function watchCamera() {
  const clip = await camera.clip();
  if (!clip || work) return;
  hero.pause();
  live = { name: 'Webcam', camera: true, demo: '', part: {}, clip: null, maps: {}, scores: null };
  work = { id: engine.request({ type: 'live', ...clip }, clip.frames), type: 'live', result: live, quiet: true, maps: {}, scores: null };
  work.began = performance.now();
  layout();
}

function changeSettings(changed) {
  settings = { ...settings, ...changed };
  if (camera.on) {
    sent = settings;
    return engine.request({ type: 'settings', ...settings });
  }
  if (shown !== live || work?.type === 'open') return openAgain();
  sent = settings;
  begin({ type: 'settings', ...settings }, shown, true);
}

function changeBackend(choice) {
  if (camera.on) return engine.request({ type: 'backend', choice });
  if (shown && shown === live && work?.type !== 'open') return begin({ type: 'backend', choice }, shown, true);
  engine.request({ type: 'backend', choice });
  if (work?.type === 'open') openVideo(live);
  else if (shown) openAgain();
}

function changeStage(chosen) {
  stage = chosen;
  if (shown.maps[stage]) showMaps(shown.maps[stage]);
  else if (work) return; // asked for when that has ended
  else if (shown !== live) openAgain();
  else begin({ type: 'stage', stage }, shown, true);
}

// Maps of all stages below each other, those that are missing one after the other.
function showAllStages() {
  show(shown, hero.frame);
  fillStages();
}

function fillStrip({ maps }) {
  if ($('all-stages').checked) Object.values(maps).forEach((one) => strip.setMaps(one));
}

function fillStages() {
  if (!$('all-stages').checked || work || camera.on || isEvery(shown.part.sampling)) return;
  const missing = model.stages.find(({ name }) => !shown.maps[name]);
  if (missing && shown !== live) openAgain();
  else if (missing) begin({ type: 'stage', stage: missing.name }, shown, true);
}

// card: its README.md, a file or an address.
function loadModel(message, itsCard = message.url && `${message.url}README.md`) {
  camera.stop();
  if (work) engine.cancel(work.id);
  if (work) stopWork();
  live = null; // the worker forgets the clip
  card = itsCard;
  loading = engine.request({ type: 'load-model', ...message });
  $('model-name').textContent = 'loading the model';
}

// A model to hold beside this one.
function loadOther(files) {
  const chosen = modelOf(files);
  if (chosen) otherLoading = engine.request({ type: 'load-other', files: chosen });
  else beside.chosen(null, 'Choose a model’s two files, or a checkpoint.');
}

const CHECKPOINT = /\.(pth|pt|ckpt|bin|tar)$/i; // as PyTorch's are called

const ending = (files, end) => files.find(({ name }) => name.endsWith(end));

// What of these files makes a model, if they do.
function modelOf(files) {
  const [config, weights, names] = ['.json', '.safetensors', '.txt'].map((end) => ending(files, end));
  const checkpoint = files.find(({ name }) => CHECKPOINT.test(name)) ?? (names && weights);
  if (checkpoint) return { checkpoint, labels: names ?? config };
  return config && weights ? { config, weights } : null;
}

function openFiles(files) {
  const found = modelOf(files);
  const half = ending(files, '.json') ?? ending(files, '.safetensors');
  if (found) loadModel({ files: found }, ending(files, '.md'));
  else if (half) fail(`A model is two files, chosen together: config.json and model.safetensors. Here is only ${half.name}.`);
  else if (files.length) openVideo({ file: files[0] });
}

async function openDemo(clip, part) {
  const { blob, problem } = await load(clip);
  if (blob) openVideo({ file: blob, name: clip.title, demo: clip.file, fails: clip.fails, part });
  else fail(`The demo clip did not load (${problem}). Is the server still running?`);
}

// ---------------------------------------------------------------- answers

// Requests whose maps and scores take the place of those on the page, all at once.
const replaces = (type) => ['settings', 'backend', 'live'].includes(type);

// Answers to a request that has been replaced since are of no interest.
function on(type, answer) {
  engine.addEventListener(type, ({ detail }) => {
    if (work?.id === detail.id) answer(detail, work.result);
  });
}

on('progress', showProgress);

on('clip', (clip, result) => {
  result.clip = clip;
  if (work.type === 'live') return; // with its maps
  show(result, work.quiet ? hero.frame : within(link.frame, 1, clip.frames.length) - 1);
});

on('maps', (maps, result) => {
  work.maps[maps.stage] = maps;
  // After a change of settings the old maps stay beside the old action, until both are new.
  if (replaces(work.type)) return;
  result.maps[maps.stage] = maps;
  if (maps.stage === stage) showMaps(maps);
  else if ($('all-stages').checked) strip.setMaps(maps);
});

on('scores', (scores, result) => {
  work.scores = scores;
  if (replaces(work.type)) return;
  result.scores = scores;
  showScores(result);
});

on('done', (_, result) => {
  const { type, maps, scores, began } = work;
  work = null;
  if (replaces(type)) fillStrip(Object.assign(result, { maps, scores }));
  if (type !== 'stage') good = result;
  if (type === 'live') show(result, result.clip.frames.length - 2);
  showScores(result);
  if (type === 'live') $('run-facts').textContent = `${side.processor(scores)} · ${(1000 / (performance.now() - began)).toFixed(1)} clips a second`;
  const [best] = result.scores.top;
  if (type === 'stage') say(`Maps of ${Object.keys(maps).join(', ')}.`);
  else if (type !== 'live') say(`${result.name}: ${best.label}, ${percent(best.probability)}.`);
  changeStage(stage);
  fillStages();
  if (!work) link = {};
  layout();
  if (camera.on && !work) watchCamera();
});

on('cancelled', () => {
  stopWork();
  if (camera.on) watchCamera();
});

on('error', ({ message }) => {
  camera.stop();
  stopWork();
  fail(message);
});

engine.addEventListener('ready', ({ detail: { wheel } }) => paint($('wheel'), wheel));

engine.addEventListener('model', ({ detail: { id, info, notes = [] } }) => {
  if (id !== loading) return; // the same model again, after a restart
  model = info;
  assumed = notes;
  $('model-name').textContent = model.backbone;
  $('model-sheet-open').title = info.text;
  modelSheet.set(info, card);
  beside.chosen(null);
  stage = info.default_stage;
  settings = sent = info.settings;
  followLink(info);
  side.showStages(info.stages, stage, changeStage);
  showSettings();
  if (settings !== sent && work?.type === 'open') openVideo(live); // opened before it was known what the link asks
});

engine.addEventListener('model', ({ detail: { files = [] } }) => {
  // Not a second time: by then whatever is fetched is kept.
  const clips = demos.then((all) => all.map(({ url }) => new URL(url, document.baseURI).href));
  clips.then((urls) => keepForLater([...files, ...urls, ...LATER])).then((kept) => { $('offline').hidden = !kept; }, () => {});
}, { once: true });

engine.addEventListener('progress', ({ detail: { id, text } }) => {
  if (id === loading) $('model-name').textContent = text;
});

engine.addEventListener('done', ({ detail: { id } }) => {
  if (id !== loading) return;
  loading = 0;
  // Another model has forgotten the clip, and its numbers are not those on the page.
  if (good) openVideo(good);
  good = null;
});

engine.addEventListener('error', ({ detail: { id, message } }) => {
  if (id === loading) modelFailed(message);
});

engine.addEventListener('restarted', ({ detail: { message, couldStart, lostModel } }) => {
  camera.stop();
  if (work) stopWork();
  point.answer(null);
  beside.chosen(null);
  live = null;
  sent = {};
  if (!couldStart) fail(`${message} This browser may lack module workers or WebAssembly with SIMD: a newer one has both.`);
  else if (lostModel) modelFailed(message);
  else fail(`${message} It has been started again and is ready for another video; this one may be too much for it.`);
});

engine.addEventListener('point', ({ detail }) => {
  if (detail.id === asked) point.answer(detail);
});

engine.addEventListener('cancelled', ({ detail: { id } }) => {
  if (id === asked) point.answer(null);
});

engine.addEventListener('error', ({ detail: { id, message } }) => {
  if (id === asked) point.fail(message);
});

engine.addEventListener('other', ({ detail: { id, info } }) => {
  if (id === otherLoading) beside.chosen(info);
});

engine.addEventListener('error', ({ detail: { id, message } }) => {
  if (id === otherLoading) beside.chosen(null, message);
});

engine.addEventListener('beside', ({ detail }) => beside.answer(detail));

engine.addEventListener('cancelled', ({ detail: { id } }) => beside.fail(id));

engine.addEventListener('error', ({ detail: { id, message } }) => beside.fail(id, message));

engine.addEventListener('saved', ({ detail: { files } }) => {
  for (const { name, mime, bytes } of files) download(new Blob([bytes], { type: mime }), name);
});

engine.addEventListener('error', ({ detail: { id, message } }) => {
  if (id === saving) $('save-note').textContent = message;
});

// What is shown, as a file: drawn here, or written by the worker, which has the numbers.
async function save(what) {
  $('save-note').textContent = '';
  if (!drawn[what]) {
    if (shown !== live) openAgain();
    saving = engine.request({ type: 'save', what, stage });
    return;
  }
  const { name, clip, scores } = shown;
  const view = { name, clip, maps: visibleMaps(shown), beside: compared, wipe: $('wipe').value / 100, scores, frame: hero.frame, look: hero.look, opacity: $('opacity').value / 100, wheel: $('wheel') };
  const file = name.replace(/\.\w+$/, '').replace(/[^\p{L}\p{N}._-]+/gu, '-');
  try {
    const { blob, extension } = await drawn[what](view, (text) => { $('save-note').textContent = text; });
    $('save-note').textContent = '';
    download(blob, `${file}.${extension}`);
  } catch (error) {
    $('save-note').textContent = error.message;
  }
}

// Put the page back to what it last showed in full.
function stopWork() {
  const { type, result } = work;
  work = null;
  if (type === 'open') live = null;
  if (replaces(type)) {
    live = null;
    settings = result.scores.settings;
    showSettings();
  }
  shown = null;
  beside.setMaps(null);
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

// Those of the stage that is chosen, or others until they come.
const visibleMaps = ({ maps }) => maps[stage] ?? Object.values(maps)[0];

function show(result, frame = 0) {
  shown = result;
  point.setClip(result.clip);
  hero.setClip(result.clip, frame);
  strip.setClip(result.clip, { every: isEvery(result.part.sampling), stages: $('all-stages').checked ? model.stages.map(({ name }) => name) : [] });
  strip.mark(hero.frame);
  timeline.setClip(result.clip, result.part, model, result.file);
  fillStrip(result);
  const visible = visibleMaps(result);
  if (visible) {
    stage = visible.stage;
    showMaps(visible);
  }
  if (result.scores) showScores(result);
  layout();
}

function showMaps(maps) {
  point.setMaps(maps);
  hero.setMaps(maps);
  strip.setMaps(maps);
  strip.mark(hero.frame);
  side.noteStage(maps);
  side.chooseStage(maps.stage);
  beside.setMaps(maps);
  if (link.point) point.choose(link.point);
  if (shown.scores) showNotes(shown);
}

// What weakens the result, beside it.
function showNotes({ clip, scores, fails = '' }) {
  const shifted = model.stages.find(({ name }) => name === stage)?.shifts;
  side.showNotes([...(fails ? [fails] : []), ...unmet, ...assumed, ...scores.notes, ...clip.notes, ...(shifted ? [SHIFT_NOTE] : [])]);
}

function showScores(result) {
  const { clip, scores } = result;
  side.showScores(scores);
  side.showFacts(clip, scores);
  side.showBackend(scores);
  showNotes(result);
  side.chooseEstimator(scores.settings.estimator);
  point.setSettings(scores.settings);
  beside.setSettings(scores.settings);
  hero.setSeen(scores.seen);
  chart.set(clip, scores);
  chart.mark(hero.frame);
  $('run-facts').textContent = `${side.processor(scores)} · ${duration(scores.ms.total)}`;
  layout();
}

function showSettings() {
  side.chooseEstimator(settings.estimator);
  point.setSettings(settings);
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
  const busy = work && !failure && !(work.type === 'live' && picture);
  $('empty').hidden = Boolean(failure || picture || busy);
  $('picture').hidden = $('transport').hidden = !picture;
  $('timeline').hidden = !picture || !timeline.known;
  const every = Boolean(picture) && isEvery(shown.part.sampling);
  $('strip').hidden = !picture || point.open || every;
  $('chart').hidden = !every || point.open || !shown.scores?.over_time;
  $('beside').disabled = $('all-stages').disabled = every;
  if (model) side.offerStages(model.stages, every, model.default_stage);
  $('point').hidden = !picture || !point.open;
  $('side').hidden = !picture || !shown.scores;
  $('progress').hidden = !busy;
  $('failure').hidden = !failure;
  $('run-facts').hidden = $('side').hidden;
  $('failure-text').textContent = failure;
  $('back').hidden = !good;
  $('retry').textContent = model ? 'Open another video' : 'Open another model';
  writeLink();
  document.body.dataset.state = failure ? 'error' : busy ? 'busy' : picture ? 'result' : 'empty';
}

// ---------------------------------------------------------------- the page's address

// What a link asks of the model and its estimation.
function followLink({ stages, settings: own }) {
  unmet = [];
  const wanted = {
    estimator: ['soft', 'kernel'].includes(link.estimator) ? link.estimator : null,
    sigma: within(link.sigma, 0.01, 1000),
    temperature: within(link.temperature, 1e-6, 1e6),
    patch: within(link.patch, 3, 63),
    scaling: ['clip', 'pair'].includes(link.scaling) ? link.scaling : null,
  };
  for (const [name, value] of Object.entries(wanted)) {
    if (value !== null) settings = { ...settings, [name]: value };
    else if (name in link) unmet.push(`The link asks for ${name} ${link[name]}, which cannot be: here it is ${own[name]}.`);
  }
  if (stages.some(({ name }) => name === link.stage)) stage = link.stage;
  else if (link.stage) unmet.push(`The link asks for ${link.stage}, which this model does not have: here is ${stage}.`);
}

function writeLink(now = false) {
  if (!shown?.scores || work) return;
  const changed = Object.entries(settings).filter(([name, value]) => value !== model.settings[name]);
  remember({
    clip: shown.demo,
    ...Object.fromEntries(Object.entries(shown.part).map(([name, value]) => [name, ['from', 'to'].includes(name) ? value?.toFixed(3) ?? '' : value ?? ''])),
    stage: stage === model.default_stage ? '' : stage,
    ...Object.fromEntries(changed),
    frame: hero.frame ? hero.frame + 1 : '',
    view: ['colours', 'difference'].includes($('view').value) ? '' : $('view').value,
    beside: $('beside').value === 'model' ? '' : $('beside').value,
    ...Object.fromEntries(SLIDERS.map((id) => [id, $(id).value === $(id).defaultValue ? '' : $(id).value])),
    point: point.place,
  }, now === true);
}

// ---------------------------------------------------------------- buttons and drops

function choose(input, take) {
  input.addEventListener('change', () => {
    take([...input.files]);
    input.value = ''; // so that the same file can be chosen again
  });
}

choose($('video-file'), openFiles);
choose($('model-files'), openFiles);
choose($('other-files'), loadOther);
for (const id of ['open-video', 'open-video-large']) $(id).addEventListener('click', () => $('video-file').click());
$('open-model').addEventListener('click', () => $('model-files').click());
$('models-here').addEventListener('click', ({ target: { value: path } }) => {
  if (!path) return;
  $('model-sheet').close();
  rememberModel(path);
  loadModel({ url: new URL(`${path}/`, document.baseURI).href });
});
$('retry').addEventListener('click', () => $(model ? 'video-file' : 'model-files').click());
$('back').addEventListener('click', () => {
  failure = '';
  show(good);
});
$('camera').addEventListener('click', () => (camera.on ? camera.stop() : startCamera()));
$('cancel').addEventListener('click', () => {
  camera.stop();
  engine.cancel(work.id);
});
$('share').addEventListener('click', async () => {
  writeLink(true);
  const copied = navigator.clipboard?.writeText(location.href).then(() => true, () => false);
  $('share').textContent = (await copied) ? 'Link copied' : 'The link stands in the address bar';
  say($('share').textContent);
  setTimeout(() => { $('share').textContent = 'Copy link'; }, 2000);
});
$('save').addEventListener('click', ({ target: { value: what } }) => { if (what) save(what); });
$('backend').addEventListener('change', ({ target }) => changeBackend(target.value));
$('all-stages').addEventListener('change', showAllStages);
$('per-pair').addEventListener('change', ({ target }) => changeSettings({ scaling: target.checked ? 'pair' : 'clip' }));
$('estimators').addEventListener('change', ({ target }) => changeSettings({ estimator: target.value }));

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

listen();
new Tour({
  open: () => demos.then((all) => openDemo(all[0])),
  frame(n) { hero.pause(); hero.show(n); },
  view(kind) { $('view').value = kind; hero.show(hero.frame); },
  inspect: () => point.chooseFastest(),
  close: () => point.close(),
});

engine.start();
const query = new URLSearchParams(location.search);
const wanted = query.get('backend');
const precision = query.get('precision') === 'f16' ? 'f16' : 'f32';
engine.request({ type: 'backend', choice: side.chooseBackend(wanted) ? wanted : 'auto', precision });
const place = new URL(`${query.get('model') ?? 'models/default'}/`, document.baseURI);
if (place.origin === location.origin) loadModel({ url: place.href });
else modelFailed(`The page fetches models of its own site only, not ${place.href}: download its config.json and model.safetensors, and drop them here.`);
for (const id of SLIDERS) $(id).value = within(link[id], Number($(id).min), Number($(id).max)) ?? $(id).value;
hero.fade();
for (const id of ['view', 'beside']) {
  if ([...$(id).options].some(({ value, disabled, dataset }) => value === link[id] && !disabled && !dataset.asks)) $(id).value = link[id];
}
const demos = showDemos(openDemo);
demos.then((all) => {
  const demo = all.find(({ file }) => file === link.clip);
  const { from, to, sampling, frames } = link;
  const part = { from: within(from, 0, Infinity) ?? undefined, to: within(to, 0, Infinity) ?? undefined, frames: Math.round(within(frames, 2, 64)) || undefined };
  if (demo) openDemo(demo, [...$('sampling').options].some(({ value }) => value === sampling) ? { ...part, sampling } : part);
  else if (link.clip) fail(`The link asks for the demo clip ${link.clip}, which is not here.`);
});
layout();
