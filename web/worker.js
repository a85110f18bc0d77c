// The worker: owns the wasm module, the network and all drawing of maps. The page owns buttons and pictures.
// Bytes and settings go in, pictures and numbers come out; every formula is in Rust (crates/motion-web).
//
// ## How to use it
//   const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
// It answers {type: 'ready'} once wasm runs. `id` is a number that the page chooses for each request; every answer
// carries the id of the request that caused it. A new 'open' replaces the clip before it (and cancels its work).
//
// If the worker dies (worker.onerror, worker.onmessageerror, or {type: 'error', fatal: true}), or stays silent for
// `limit` seconds while a request is open, the page calls terminate(), says so, starts a new worker and loads the
// model again. `limit` is 30 until a 'progress' states another (a stage of a large network on a slow machine).
//
// A picture is {width, height, rgba: Uint8ClampedArray}: new ImageData(p.rgba, p.width, p.height). Its buffer is
// transferred. Pictures are small (the map's own grid, e.g. 28 x 28): the page enlarges them with CSS only.
//
// ## Page -> worker
// {type: 'load-model', id, url}                       a folder: url + 'config.json', url + 'model.safetensors'
// {type: 'load-model', id, files: {config, weights}}  Files or Blobs of a folder that the user picked
//     A new model forgets the clip: open it again.
// {type: 'open', id, file, name}                      a video, File or Blob: demux, decode, run, all answers follow
// {type: 'video-element', id, duration, width, height}  after 'need-video-element': what <video> found (seconds, px)
// {type: 'approximate-frames', id, frames: [ImageBitmap], times: [seconds], name}  after 'seek'; transfer them
// {type: 'settings', id, estimator, sigma, temperature, patch}   any of them; what is absent stays. estimator:
//     'kernel' | 'soft'. With a clip open, only what comes after the first MS module's input is run again.
// {type: 'stage', id, stage}                          maps of this stage too (a probe where no module is trained)
// {type: 'save-clip', id}
// {type: 'cancel', id}                                stops request `id` before its next step
//
// ## Worker -> page
// {type: 'ready', wheel: picture}                     the colour wheel for the legend, up = up
// {type: 'model', id, info}      info: {backbone, frames, input_size, classes, parameters, labels: [text],
//     stages: [{name, trained}], default_stage, settings: {estimator, sigma, temperature, patch}, text}
// {type: 'progress', id, step, done, total, text, limit}   step: 'read' | 'decode' | 'network' | 'maps'
// {type: 'clip', id, name, frames: [picture], times: [seconds], indices: [frame number in the video],
//     source: {width, height, frames, codec, rotation, crop: {x, y, width, height}}, approximate, notes: [text]}
//     frames are what the network sees: resized and cropped; crop is that part of the (upright) source in source
//     pixels: show them with aspect ratio crop.width / crop.height. notes: sentences to show ("The file ends ...").
// {type: 'maps', id, stage, trained, probe, grid: {width, height}, pairs,
//     displacement: [picture per pair], confidence: [picture per pair],
//     legend: {text, radius_cells, speed: {cells, input_px, source_px}}, confidence_range: [min, max],
//     numbers: {displacement: Float32Array [pairs, h, w, 2], confidence: Float32Array [pairs, h, w]}}
//     One 'maps' for each stage with a trained module as soon as it is ready, others when asked for with 'stage'.
//     speed: what full saturation means, one scale for the clip. numbers.displacement is in units of the radius.
// {type: 'scores', id, top: [{label, probability}], backend, ran: [stage names], reused: [stage names],
//     settings, ms: {read, decode, prepare, network, motion, draw, total}, text}
// {type: 'need-video-element', id, reason}            WebCodecs cannot open it. The page loads the file in a <video>:
//     it answers 'video-element', or shows `reason` as the error when <video> fails too.
// {type: 'seek', id, times: [seconds]}                where the page seeks; it answers 'approximate-frames'
// {type: 'saved', id, files: [{name, mime, bytes: Uint8Array}]}   clip.safetensors and results.json: what
//     `motionlens forward` needs to compute the same, and what was computed here
// {type: 'cancelled', id}
// {type: 'error', id, message, fatal}                 one sentence to show; not fatal: go on with the next request
// {type: 'done', id}             the last answer of every request that was neither cancelled nor ended by an error
//     ('need-video-element' and 'seek' leave their request open).
