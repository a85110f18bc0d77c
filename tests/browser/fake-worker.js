// A worker without a network, for questions about the page alone: it follows web/messages.md at once,
// with made-up pictures. The name of the "video" says what it does: crash, hang, fail, or a plain result.

const picture = (width, height, color) => {
  const rgba = new Uint8ClampedArray(4 * width * height);
  for (let y = 0, i = 0; y < height; y++) for (let x = 0; x < width; x++, i += 4) rgba.set([...color(x / width, y / height), 255], i);
  return { width, height, rgba };
};
const LABELS = ['Moving something up', 'Pushing something from left to right', 'Moving something down', 'Holding something', 'Turning the camera left'];
const STAGES = ['stage2', 'stage3', 'stage4', 'stage5'];
let settings = { estimator: 'kernel', sigma: 5, temperature: 0.01, patch: 15, scaling: 'clip' };
let name = '';
let count = 8; // frames
let every = false;

const send = (type, id, message = {}) => postMessage({ type, id, ...message });

function maps(id, stage, type = 'maps', more = {}) {
  const side = { stage2: 56, stage3: 28, stage4: 14, stage5: 7 }[stage];
  const near = (x, y, t) => Math.hypot(x - 0.2 - 0.08 * t, y - 0.5) < 0.18;
  send(type, id, {
    ...more,
    stage, trained: stage === 'stage3', probe: stage !== 'stage3', grid: { width: side, height: side }, pairs: count - 1,
    displacement: Array.from({ length: count - 1 }, (_, t) => picture(side, side, (x, y) => (near(x, y, t) ? [255, 30, 10] : [255, 255, 255]))),
    confidence: Array.from({ length: count - 1 }, (_, t) => picture(side, side, (x, y) => { const v = near(x, y, t) ? 90 : 220; return [v, v, v]; })),
    words: Array.from({ length: count - 1 }, () => '6 % of the picture moves, in the left, to the right, by 1.0 cells on average.'),
    legend: {
      radius_cells: 7, scaling: settings.scaling,
      speeds: Array.from({ length: count - 1 }, (_, t) => ({ cells: settings.scaling === 'pair' ? 1 + t / 4 : 3.25, input_px: 26, source_px: 62.4, text: 'Full colour: a speed.' })),
    },
    confidence_range: [0.41, 0.99], confidence_ranges: Array.from({ length: count - 1 }, (_, t) => [0.41 + t / 100, 0.99]),
    numbers: {
      displacement: Float32Array.from({ length: (count - 1) * side * side * 2 }, (_, i) => ((i >> 1) % side < side / 2 && !(i & 1) ? 2 / 7 : 0)),
      confidence: Float32Array.from({ length: (count - 1) * side * side }, (_, i) => (Math.floor(i / side) % side < side / 2 ? 0.9 : 0.1)),
    },
  });
}

function scores(id, ran) {
  const share = settings.estimator === 'kernel' ? [0.81, 0.09, 0.05, 0.03, 0.004] : [0.5, 0.3, 0.1, 0.06, 0.01];
  send('scores', id, {
    top: LABELS.map((label, i) => ({ label, probability: share[i] })),
    over_time: every ? [0, 1, 2].map((i) => ({ from: 0.1 + 0.6 * i, to: 0.7 + 0.6 * i, probabilities: share.map((of, action) => (action === i ? 0.7 : of / 2)) })) : undefined,
    seen: every ? undefined : { range: [-3, 9], pictures: Array.from({ length: count }, (_, t) => picture(7, 7, (x) => (x > t / 8 ? [250, 180, 120] : [20, 10, 60]))) }, backend: 'cpu', choice: 'auto', why: 'WebGPU is not there.', notes: [], adapter: '', threads: 2, alone: '', memory: 9e7, ran,
    reused: ran.includes('stem') ? [] : ['stem', 'stage2'], settings,
    ms: { read: 4, decode: 130, prepare: 40, network: 900, motion: 120, draw: 3, total: 1200 }, text: 'CPU · 1.2 s',
  });
}

const answers = {
  'load-model': ({ id }) => send('model', id, {
    info: { backbone: 'tsm_mobilenet_v2', frames: 8, sampling: 'segment', input_size: 224, classes: 5, parameters: 2e6, multiply_adds: { stem: 2e8, stage3: 1.5e9, classifier: 3e5 }, labels: LABELS,
      stages: STAGES.map((stage) => ({ name: stage, trained: stage === 'stage3', shifts: stage !== 'stage2' })), default_stage: 'stage3', settings, text: 'MSNet, 5 classes.' },
  }),
  open({ id, name: opened, from = 0.13, to = 1.88, sampling = '', frames = 8 }) {
    name = opened;
    every = sampling.startsWith('every');
    count = every ? 24 : frames;
    if (name.startsWith('crash')) throw new Error('made to crash');
    if (name.startsWith('hang')) return false;
    if (name.startsWith('fail')) { send('error', id, { message: 'This is not a video: it starts with “<html>”.', fatal: false }); return false; }
    send('progress', id, { step: 'decode', done: 3, total: 8, text: 'Decoding frames' });
    if (name.startsWith('wait')) return false;
    const times = Array.from({ length: count }, (_, t) => from + (t * (to - from)) / (count - 1));
    send('clip', id, {
      name, times, indices: times.map((_, t) => 3 + Math.round((t * 42) / (count - 1))),
      frames: times.map((_, t) => picture(224, 224, (x, y) => (Math.hypot(x - 0.2 - 0.08 * t, y - 0.5) < 0.15 ? [150, 110, 80] : [60 + 40 * x, 80 + 50 * y, 90]))),
      source: { width: 768, height: 432, frames: 53, seconds: [0, 2.6], codec: 'h264', rotation: 0, crop: { x: 115, y: 14, width: 537.6, height: 403.2 } },
      approximate: name.startsWith('approximate'), notes: name.startsWith('notes') ? ['2 frames were damaged and are left out.'] : [],
    });
    maps(id, 'stage3');
    scores(id, ['stem', 'stage2', 'stage3', 'stage4', 'stage5', 'classifier']);
  },
  settings({ id, type, ...changed }) {
    settings = { ...settings, ...changed };
    if (!name) return;
    maps(id, 'stage3');
    scores(id, ['stage3', 'stage4', 'stage5', 'classifier']);
  },
  backend() {},
  point({ id, stage, pair, x, y, sigma = settings.sigma, temperature = settings.temperature, patch = settings.patch }) {
    const radius = (patch - 1) / 2;
    const surface = (of) => {
      const values = Float32Array.from({ length: patch * patch }, (_, i) => of((i % patch) - radius, Math.floor(i / patch) - radius));
      const shade = (x, y) => { const v = 255 * of(x * patch - radius, y * patch - radius); return [v, v / 2, 80]; };
      return { values, range: [0, 1], picture: picture(patch, patch, shade) };
    };
    const peak = (width) => surface((dx, dy) => Math.exp(-((dx - 1) ** 2 + dy ** 2) / width));
    send('point', id, {
      stage, pair, x, y, settings: { ...settings, sigma, temperature, patch }, best: { dx: 1, dy: 0 }, confidence: 0.93,
      correlation: peak(20), gaussian: peak(2 * sigma ** 2), masked: peak(10),
      soft: { surface: peak(8), displacement: { dx: 0.4, dy: -0.1 } }, kernel: { surface: peak(2), displacement: { dx: 0.9, dy: 0 } },
    });
  },
  stage: ({ id, stage }) => maps(id, stage),
  'load-other': ({ id, files }) => {
    if (files.config?.name.startsWith('half')) { send('error', id, { message: 'The other model sees something else.' }); return false; }
    send('other', id, { info: { backbone: 'resnet18' }, notes: [] });
  },
  beside({ id, stage, what }) {
    const far = (x, y) => { const v = 255 * x * y; return [v, v / 2, 80]; };
    maps(id, stage, 'beside', {
      what, top: what === 'model' ? [{ label: LABELS[2], probability: 0.62 }] : undefined, difference: Array.from({ length: count - 1 }, () => picture(28, 28, far)), difference_highest: 2.5,
      difference_means: Array.from({ length: count - 1 }, (_, t) => 0.3 + t / 100),
    });
  },
  cancel({ id }) { send('cancelled', id); return false; },
};

onmessage = ({ data }) => {
  if (answers[data.type]?.(data) !== false) send('done', data.id);
};
send('ready', 0, { wheel: picture(96, 96, (x, y) => (Math.hypot(x - 0.5, y - 0.5) < 0.5 ? [255 * x, 255 * y, 128] : [255, 255, 255])) });
