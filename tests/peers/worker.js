// One contestant in a browser.
// In: {runtime, threads, network: path of a folder of networks.py, model: path of our model folder in it, package: path
// of our module}, then 'run' for each run. Out: {} when it is ready, {ms, output: logits} for each run; {error} if anything fails.

const CLIP = [8, 3, 224, 224];

const runtimes = {
  async motionlens({ threads, network, model, package: folder }) {
    const module = await import(`${folder}/motion_web.js`);
    const { wasmFile } = await import('/page/relaxed.js');
    await module.default({ module_or_path: `${folder}/${wasmFile}` });
    if (threads > 1) await module.initThreadPool(threads);
    const session = new module.Session();
    const config = await (await download(`${model}/config.json`)).text();
    session.load_model(config, new Uint8Array(await (await download(`${model}/model.safetensors`)).arrayBuffer()));
    const clip = await floats(`${network}/clip.nhwc.f32`);
    return () => session.logits_of_clips(clip, ...CLIP.slice(2));
  },

  async 'onnxruntime-web'({ threads, network }) {
    const ort = await import('/onnxruntime-web/ort.wasm.min.mjs');
    ort.env.wasm.wasmPaths = new URL('/onnxruntime-web/', self.location).href;
    ort.env.wasm.numThreads = threads;
    const session = await ort.InferenceSession.create(`${network}/model.onnx`, { executionProviders: ['wasm'] });
    const clip = await floats(`${network}/clip.nchw.f32`);
    return async () => (await session.run({ clip: new ort.Tensor('float32', clip, CLIP) })).logits.getData();
  },
};

async function download(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status} ${answer.statusText}`);
  return answer;
}

async function floats(address) {
  return new Float32Array(await (await download(address)).arrayBuffer());
}

let run;
self.onmessage = async ({ data }) => {
  try {
    if (data !== 'run') {
      run = await runtimes[data.runtime](data);
      return self.postMessage({});
    }
    const begun = performance.now();
    const output = await run();
    self.postMessage({ ms: performance.now() - begun, output: Array.from(output) });
  } catch (error) {
    self.postMessage({ error: error?.message ?? String(error) });
  }
};
