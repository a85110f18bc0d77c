/** A picture: `rgba` has 4 * width * height bytes, row by row. `time` in seconds. */
export interface Frame {
  width: number;
  height: number;
  rgba: Uint8Array | Uint8ClampedArray;
  time?: number;
}

/** How displacement is estimated; what is absent is the model's own. */
export interface Settings {
  /** soft-argmax, or kernel-soft-argmax. */
  estimator?: 'soft' | 'kernel';
  /** Width of the Gaussian around the best match, in cells. */
  sigma?: number;
  temperature?: number;
  /** Side of the search window in cells, odd. */
  patch?: number;
}

/** What one motion module saw between neighbouring frames of the clip. */
export interface Maps {
  stage: string;
  /** Cells of a map. */
  width: number;
  height: number;
  /** Frames less one. */
  pairs: number;
  /** `[pairs, height, width, 2]`: (dx, dy) in cells, +x right, +y down. */
  displacement: Float32Array;
  /** `[pairs, height, width]`: the largest correlation. */
  confidence: Float32Array;
  /** Where it moves, a sentence for each pair. */
  words: string[];
}

export interface Result {
  /** Which of the frames made the clip. */
  frames: number[];
  /** The five likeliest actions, best first. */
  scores: { label: string; probability: number }[];
  /** One for each stage with a motion module. */
  maps: Maps[];
}

export interface Network {
  info: {
    backbone: string;
    /** Frames of a clip. */
    frames: number;
    input_size: number;
    classes: number;
    parameters: number;
    labels: string[];
    /** shifts: frames meet in this stage (temporal shift), so the first and the last map of a clip are weaker. */
    stages: { name: string; trained: boolean; shifts: boolean }[];
    settings: Required<Settings>;
  };
  /** Takes at least two frames of one size, in their order; of more than a clip has, one from the middle of each part. */
  run(frames: Frame[], settings?: Settings): Promise<Result>;
}

/**
 * @param model address of a model folder, or the contents of its two files
 * @param options backend 'gpu' runs on WebGPU, and fails where it cannot
 */
export function load(
  model: string | URL | { config: string; weights: Uint8Array },
  options?: { backend?: 'cpu' | 'gpu' },
): Promise<Network>;
