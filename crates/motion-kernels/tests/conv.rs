//! Every instruction set of this machine against the sum as it stands in the textbook.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::mem::MaybeUninit;

use motion_kernels::{Bottleneck, Conv, ConvInput, Depthwise, Level, Limits, Shape};
use proptest::prelude::*;
use support::numbers;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// The value of the shifted input, 0 outside.
fn input_value(shape: Shape, input: &ConvInput<'_>, n: usize, y: isize, x: isize, c: usize) -> f32 {
    let [_, h, w] = input.size;
    if y < 0 || x < 0 || y >= h as isize || x >= w as isize {
        return 0.0;
    }
    let n = match input.shift {
        Some(frames) if c < shape.input / 8 => {
            if (n + 1).is_multiple_of(frames) {
                return 0.0;
            } else {
                n + 1
            }
        }
        Some(frames) if c < shape.input / 4 => {
            if n.is_multiple_of(frames) {
                return 0.0;
            } else {
                n - 1
            }
        }
        _ => n,
    };
    input.x[((n * h + y as usize) * w + x as usize) * shape.input + c]
}

fn expected(shape: Shape, input: &ConvInput<'_>, weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let Shape { input: channels, output, kernel, stride } = shape;
    let [n, h, w] = input.size;
    let pad = (kernel / 2) as isize;
    let mut out = Vec::new();
    for frame in 0..n {
        for y in 0..shape.out(h) {
            for x in 0..shape.out(w) {
                for o in 0..output {
                    let mut sum = f64::from(bias[o]);
                    for (k, weight) in weight[o * shape.window()..][..shape.window()].iter().enumerate() {
                        let (tap, c) = (k / channels, k % channels);
                        let (y, x) =
                            ((y * stride + tap / kernel) as isize, (x * stride + tap % kernel) as isize);
                        let value = input_value(shape, input, frame, y - pad, x - pad, c);
                        sum += f64::from(value) * f64::from(*weight);
                    }
                    let residual = input.residual.map_or(0.0, |residual| residual[out.len()]);
                    out.push(input.limits.apply(sum as f32 + residual));
                }
            }
        }
    }
    out
}

fn run(level: Level, shape: Shape, input: ConvInput<'_>, weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let [n, h, w] = input.size;
    let mut out = vec![MaybeUninit::new(f32::NAN); n * shape.out(h) * shape.out(w) * shape.output];
    Conv::with_level(level, shape, weight, bias).run(input, &mut out);
    read(out)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn convolution_is_the_sum(
        (eighths, output, kernel, stride) in (1_usize..4, 1_usize..70, 0_usize..4, 1_usize..3),
        (clips, frames, h, w) in (1_usize..3, 1_usize..4, 1_usize..14, 1_usize..14),
        (shift, with_residual, activation, seed) in (any::<bool>(), any::<bool>(), 0..3, any::<u32>()),
    ) {
        // Every other output is whole vectors, so that every algorithm has its turn.
        let output = if seed.is_multiple_of(2) { output.next_multiple_of(16) } else { output };
        let shape = Shape { input: 8 * eighths, output, kernel: 2 * kernel + 1, stride };
        let n = clips * frames;
        let x = numbers(n * h * w * shape.input, seed);
        let weight = numbers(output * shape.window(), seed ^ 1);
        let bias = numbers(output, seed ^ 2);
        let residual = numbers(n * shape.out(h) * shape.out(w) * output, seed ^ 3);
        let input = ConvInput {
            x: &x,
            size: [n, h, w],
            shift: shift.then_some(frames),
            residual: with_residual.then_some(residual.as_slice()),
            limits: [Limits::NONE, Limits::RELU, Limits::RELU6][activation as usize],
        };
        let expected = expected(shape, &input, &weight, &bias);
        for level in Level::available() {
            let found = run(level, shape, input, &weight, &bias);
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                prop_assert!((found - expected).abs() < 2e-4, "{level:?} at {i}: {found}, expected {expected}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn depthwise_is_the_sum_of_each_channel(
        (channels, kernel, stride) in (1_usize..70, 0_usize..4, 1_usize..3),
        (n, h, w) in (1_usize..4, 1_usize..16, 1_usize..16),
        (with_residual, seed) in (any::<bool>(), any::<u32>()),
    ) {
        let shape = Shape { input: channels, output: channels, kernel: 2 * kernel + 1, stride };
        let (x, weight) = (numbers(n * h * w * channels, seed), numbers(shape.window(), seed ^ 1));
        let bias = numbers(channels, seed ^ 2);
        let residual = numbers(n * shape.out(h) * shape.out(w) * channels, seed ^ 3);
        let residual = with_residual.then_some(residual.as_slice());
        // The same as a dense one whose filters see one channel each.
        let dense: Vec<f32> = (0..channels * shape.window())
            .map(|i| (i / shape.window(), i % shape.window()))
            .map(|(o, k)| if k % channels == o { weight[k] } else { 0.0 })
            .collect();
        let input = ConvInput { x: &x, size: [n, h, w], shift: None, residual, limits: Limits::RELU6 };
        let expected = expected(shape, &input, &dense, &bias);
        for level in Level::available() {
            let mut out = vec![MaybeUninit::new(f32::NAN); expected.len()];
            let depthwise = Depthwise::with_level(level, shape, &weight, &bias);
            depthwise.run(&x, [n, h, w], residual, Limits::RELU6, &mut out);
            for (i, (found, expected)) in read(out).iter().zip(&expected).enumerate() {
                prop_assert!((found - expected).abs() < 1e-4, "{level:?} at {i}: {found}, expected {expected}");
            }
        }
    }

    #[test]
    fn a_bottleneck_is_its_three_convolutions(
        (eighths, expands, stride, clips, frames) in (1_usize..4, any::<bool>(), 1_usize..3, 1_usize..3, 1_usize..4),
        (h, w, shift, seed) in (1_usize..40, 1_usize..150, any::<bool>(), any::<u32>()),
    ) {
        let from = 8 * eighths;
        let inner = if expands { 6 * from } else { from };
        let n = clips * frames;
        let (dense, pad) = (Shape { input: from, output: inner, kernel: 1, stride: 1 }, numbers(inner, seed ^ 9));
        let expand = Conv::new(dense, &numbers(from * inner, seed), &pad);
        let middle = Shape { input: inner, output: inner, kernel: 3, stride };
        let depthwise = Depthwise::new(middle, &numbers(middle.window(), seed ^ 1), &pad);
        let last = Shape { input: inner, output: from, kernel: 1, stride: 1 };
        let project = Conv::new(last, &numbers(from * inner, seed ^ 2), &numbers(from, seed ^ 3));
        let x = numbers(n * h * w * from, seed ^ 4);
        let shift = (shift && expands).then_some(frames);
        let size = [n, h, w];
        let small = [n, middle.out(h), middle.out(w)];
        let residual = numbers(small.iter().product::<usize>() * from, seed ^ 5);

        let room = |channels: usize, [n, h, w]: [usize; 3]| vec![MaybeUninit::new(f32::NAN); n * h * w * channels];
        let wide = if expands {
            let mut out = room(inner, size);
            expand.run(ConvInput { x: &x, size, shift, residual: None, limits: Limits::RELU6 }, &mut out);
            read(out)
        } else {
            x.clone()
        };
        let mut out = room(inner, small);
        depthwise.run(&wide, size, None, Limits::RELU6, &mut out);
        let filtered = read(out);
        let mut out = room(from, small);
        let end = ConvInput { x: &filtered, size: small, shift: None, residual: Some(&residual), limits: Limits::NONE };
        project.run(end, &mut out);
        let expected = read(out);

        let mut out = room(from, small);
        let block = Bottleneck {
            expand: expands.then_some((&expand, Limits::RELU6)),
            depthwise: (&depthwise, Limits::RELU6),
            project: &project,
        };
        block.run(ConvInput { x: &x, size, shift, residual: Some(&residual), limits: Limits::NONE }, &mut out);
        prop_assert!(read(out) == expected);
    }
}

fn read(values: Vec<MaybeUninit<f32>>) -> Vec<f32> {
    // SAFETY: the tests make them of numbers.
    values.into_iter().map(|value| unsafe { value.assume_init() }).collect()
}

// In a browser the page starts the threads: `threads.spec.js` asks the same there.
#[cfg(not(target_arch = "wasm32"))]
#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let shape = Shape { input: 24, output: 72, kernel: 3, stride: 1 };
    let (x, weight) = (numbers(5 * 20 * 20 * 24, 1), numbers(72 * shape.window(), 2));
    let bias = numbers(72, 3);
    let input = ConvInput { x: &x, size: [5, 20, 20], shift: Some(5), residual: None, limits: Limits::RELU };
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(Level::best(), shape, input, &weight, &bias))
    };
    let one = on(1);
    assert!(one == on(2) && one == on(3) && one == on(7));
}

#[test]
fn what_is_no_number_stays_so() {
    let shape = Shape { input: 8, output: 20, kernel: 1, stride: 1 };
    let (x, weight) = (vec![f32::NAN; 8 * 3], numbers(160, 4));
    let input = ConvInput { x: &x, size: [1, 1, 3], shift: None, residual: None, limits: Limits::RELU6 };
    for level in Level::available() {
        assert!(
            run(level, shape, input, &weight, &[0.0; 20]).iter().all(|value| value.is_nan()),
            "{level:?}"
        );
    }
}
