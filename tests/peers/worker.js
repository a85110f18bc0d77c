// One contestant in a browser.
// In: {runtime, threads, gpu: whether on WebGPU, network: path of a folder of networks.py, model: path of our model folder
// in it, package: path of our module}, then 'run' for each run or, on WebGPU, 'layers'. Out: {} when it is ready, to 'run'
// {ms, output: logits}, to 'layers' {layers: [{kernel, shape, ms}]}, every dispatch of a run by the adapter's own clock;
// {error} if anything fails.

const CLIP = [8, 3, 224, 224];

const runtimes = {
  async motionlens({ threads, gpu, network, model, package: folder }) {
    const module = await import(`${folder}/motion_web.js`);
    const { wasmFile } = await import('/page/relaxed.js');
    await module.default({ module_or_path: `${folder}/${wasmFile}` });
    if (threads > 1) await module.initThreadPool(threads);
    const session = new module.Session();
    const config = await (await download(`${model}/config.json`)).text();
    const weights = new Uint8Array(await (await download(`${model}/model.safetensors`)).arrayBuffer());
    session.load_model(config, weights);
    // An empty tuning: the kernels are measured first, as the page does.
    if (gpu) await session.use_gpu(config, weights, 'WebGPU', true, false, '');
    const clip = await floats(`${network}/clip.nhwc.f32`);
    return {
      run: () => session.logits_of_clips(clip, ...CLIP.slice(2)),
      layers: () => session.kernels_of_clips(clip, ...CLIP.slice(2)),
    };
  },

  async 'onnxruntime-web'({ threads, gpu, network }) {
    const provider = gpu ? 'webgpu' : 'wasm';
    // What its profiler finds, it prints.
    const printed = [];
    if (gpu) console.log = (line) => printed.push(line);
    const ort = await import(`/onnxruntime-web/ort.${provider}.min.mjs`);
    ort.env.wasm.wasmPaths = new URL('/onnxruntime-web/', self.location).href;
    ort.env.wasm.numThreads = threads;
    const open = (enableProfiling) =>
      ort.InferenceSession.create(`${network}/model.onnx`, { executionProviders: [provider], enableProfiling });
    const clip = await floats(`${network}/clip.nchw.f32`);
    const run = async (session) => (await session.run({ clip: new ort.Tensor('float32', clip, CLIP) })).logits.getData();
    const session = await open(false);
    return {
      run: () => run(session),
      async layers() {
        const known = await (await download(`${network}/layers.json`)).json();
        const profiled = await open(true);
        for (let warm = 0; warm < 2; warm += 1) await run(profiled);
        printed.length = 0;
        profiled.endProfiling();
        await profiled.release();
        const dispatches = JSON.parse(printed.join('\n')).filter(({ cat }) => cat === 'Api');
        // The first run may have compiled.
        return dispatches.slice(dispatches.length / 2).map(({ name, dur, args }) => {
          // A node that the optimizer has changed has a number behind its name.
          const [node, operation] = name.split('&');
          const layer = known[node.replace(/_token_\d+$/, '')];
          if (!layer && operation === 'Conv') throw new Error(`onnxruntime-web ran a convolution ${node}, expected one of layers.json`);
          return { ...(layer ?? { kernel: operation, shape: args.shapes }), ms: dur / 1000 };
        });
      },
    };
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

let contestant;
self.onmessage = async ({ data }) => {
  try {
    if (!contestant) {
      contestant = await runtimes[data.runtime](data);
      return self.postMessage({});
    }
    if (data === 'layers') return self.postMessage({ layers: await contestant.layers() });
    const begun = performance.now();
    const output = await contestant.run();
    self.postMessage({ ms: performance.now() - begun, output: Array.from(output) });
  } catch (error) {
    self.postMessage({ error: error?.message ?? String(error) });
  }
};
