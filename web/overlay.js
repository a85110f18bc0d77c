// What lies over a frame: displacement as colours or as arrows (which need no colour vision), or confidence. In: maps, a
// pair, a kind. Out: a canvas.

import { paint } from './dom.js';

const SIDE = 896;        // of the arrows' canvas, in pixels
const ACROSS = 14;       // arrows at most: each stands for the cell in the middle of those around it
const LEAST_CELLS = 0.5; // what goes less far lies still
const COVERS = 0.25;     // of full colour's speed: from there on colours cover the frame, slower ones let it through

// What became of the place (x, y) of a pair: displacement in cells, and confidence, as the map has them.
export function match({ grid, legend, numbers }, pair, { x, y }) {
  const i = (pair * grid.height + y) * grid.width + x;
  const [dx, dy] = [0, 1].map((axis) => numbers.displacement[2 * i + axis] * legend.radius_cells);
  return { dx, dy, confidence: numbers.confidence[i] };
}

// look: {kind: 'colours' | 'arrows' | 'confidence' | 'difference' | 'seen', floor, sure}; maps: the worker's 'maps', of a difference
// its 'beside', of what was seen that of 'scores'. Places that move less than floor (in cells) or are less
// sure stay empty. Whether there is a map.
export function overlay(canvas, maps, frame, { kind, floor, sure }) {
  canvas.classList.toggle('smooth', ['arrows', 'seen'].includes(kind));
  if (!maps || frame >= (maps.pairs ?? maps.pictures.length)) return false;
  if (kind === 'seen') return Boolean(paint(canvas, maps.pictures[frame]));
  const place = (y, x) => {
    const { dx, dy, confidence } = match(maps, frame, { x, y });
    return { dx, dy, shown: Math.hypot(dx, dy) >= floor && confidence >= sure };
  };
  if (kind === 'arrows') arrows(canvas, maps.grid, place);
  else {
    paint(canvas, maps[kind === 'colours' ? 'displacement' : kind][frame]);
    if (kind === 'difference') return true;
    const context = canvas.getContext('2d');
    const covers = COVERS * maps.legend.speeds[frame].cells;
    context.globalCompositeOperation = 'destination-out';
    for (let y = 0; y < canvas.height; y++) {
      for (let x = 0; x < canvas.width; x++) {
        const { dx, dy, shown } = place(y, x);
        const opaque = kind === 'colours' ? Math.min(Math.hypot(dx, dy) / covers, 1) || 0 : 1;
        if (shown && opaque === 1) continue;
        context.globalAlpha = shown ? 1 - opaque : 1;
        context.fillRect(x, y, 1, 1);
      }
    }
    context.globalAlpha = 1;
    context.globalCompositeOperation = 'source-over';
  }
  return true;
}

// Each from where something is to where it is in the next frame, in the map's own measure.
function arrows(canvas, { width, height }, place) {
  canvas.width = SIDE;
  canvas.height = SIDE;
  const context = canvas.getContext('2d');
  const every = Math.ceil(Math.max(width, height) / ACROSS);
  const [across, down] = [SIDE / width, SIDE / height];
  context.lineCap = context.lineJoin = 'round';
  const path = new Path2D();
  for (let y = Math.floor(every / 2); y < height; y += every) {
    for (let x = Math.floor(every / 2); x < width; x += every) {
      const { dx, dy, shown } = place(y, x);
      if (!shown || !(Math.hypot(dx, dy) >= LEAST_CELLS)) continue;
      const [from, to] = [[(x + 0.5) * across, (y + 0.5) * down], [(x + 0.5 + dx) * across, (y + 0.5 + dy) * down]];
      const angle = Math.atan2(to[1] - from[1], to[0] - from[0]);
      const head = Math.min(18, 0.4 * Math.hypot(to[0] - from[0], to[1] - from[1]));
      path.moveTo(...from);
      path.lineTo(...to);
      for (const turn of [-0.5, 0.5]) {
        path.moveTo(...to);
        path.lineTo(to[0] - head * Math.cos(angle + turn), to[1] - head * Math.sin(angle + turn));
      }
    }
  }
  for (const [style, width] of [['#000', 7], ['#fff', 3.5]]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.stroke(path);
  }
}
