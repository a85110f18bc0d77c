//! The ways back on every instruction set of this machine, against the sums as they stand in the textbook.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::mem::MaybeUninit;

use motion_kernels::{Gradient, Level, Shape, channels_last};
use proptest::prelude::*;
use support::numbers;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Calls `visit(o, c, tap, at in x, at in the output)` for each product of a dense convolution; `c` counts the channels
/// that the sum reads, in the frame that it reads them from.
fn products(
    shape: Shape,
    [n, h, w]: [usize; 3],
    shift: Option<usize>,
    mut visit: impl FnMut(usize, usize, usize, usize, usize),
) {
    let Shape { input, output, kernel, stride } = shape;
    let (out_h, out_w, pad) = (shape.out(h), shape.out(w), kernel / 2);
    for position in 0..n * out_h * out_w {
        let (frame, line, column) = (position / (out_h * out_w), position / out_w % out_h, position % out_w);
        for tap in 0..kernel * kernel {
            let y = (line * stride + tap / kernel).checked_sub(pad).filter(|y| *y < h);
            let x = (column * stride + tap % kernel).checked_sub(pad).filter(|x| *x < w);
            let (Some(y), Some(x)) = (y, x) else { continue };
            for c in 0..input {
                let from = match shift {
                    Some(frames) if c < input / 8 => (frame % frames + 1 < frames).then(|| frame + 1),
                    Some(frames) if c < input / 4 => (frame % frames > 0).then(|| frame - 1),
                    _ => Some(frame),
                };
                let Some(from) = from else { continue };
                for o in 0..output {
                    visit(o, c, tap, ((from * h + y) * w + x) * input + c, position * output + o);
                }
            }
        }
    }
}

/// As near as rounding allows: Winograd's transforms make some of the terms of long sums a hundred times larger.
fn near(what: &str, level: Level, found: &[f32], expected: &[f64]) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(1.0_f64, |most, value| most.max(value.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (f64::from(*found) - expected).abs();
        prop_assert!(off < 5e-5 * largest, "{what} on {level:?} at {i}: {found}, expected {expected}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_weight_gradient_is_the_sum(
        (eighths, output, kernel, stride) in (1_usize..4, 1_usize..70, 0_usize..4, 1_usize..4),
        (clips, frames, h, w) in (1_usize..3, 1_usize..4, 1_usize..22, 1_usize..22),
        (shift, odd, seed) in (any::<bool>(), any::<bool>(), any::<u32>()),
    ) {
        // Every other one suits Winograd, if stride and kernel do.
        let (input, output) = if odd { (8 * eighths, output) } else { (16 * eighths, output.next_multiple_of(16)) };
        let input = if shift { input } else { input - usize::from(odd) * (seed % 5) as usize };
        let shape = Shape { input, output, kernel: 2 * kernel + 1, stride };
        let size = [clips * frames, h, w];
        let shift = shift.then_some(frames);
        let x = numbers(size.iter().product::<usize>() * input, seed);
        let grad = numbers(size[0] * shape.out(h) * shape.out(w) * output, seed ^ 1);
        let taps = shape.kernel * shape.kernel;
        let (mut weight, mut bias) = (vec![0.0_f64; output * shape.window()], vec![0.0_f64; output]);
        products(shape, size, shift, |o, c, tap, from, to| {
            weight[(o * input + c) * taps + tap] += f64::from(x[from]) * f64::from(grad[to]);
        });
        grad.iter().enumerate().for_each(|(i, value)| bias[i % output] += f64::from(*value));
        for level in Level::available() {
            let gradient = Gradient { level, shape, size, grad: &grad };
            near("weight", level, &gradient.weight(&x, shift), &weight)?;
            near("bias", level, &gradient.bias(), &bias)?;
        }
    }

    #[test]
    fn the_input_gradient_is_the_sum(
        (input, output, kernel, stride) in (1_usize..40, 1_usize..70, 0_usize..4, 1_usize..4),
        (clips, frames, h, w) in (1_usize..3, 1_usize..4, 1_usize..22, 1_usize..22),
        (shift, whole, seed) in (any::<bool>(), any::<bool>(), any::<u32>()),
    ) {
        let round = |channels: usize| if whole { channels.next_multiple_of(16) } else { channels };
        let input = if shift { input.next_multiple_of(8) } else { input };
        let shape = Shape { input: round(input), output: round(output), kernel: 2 * kernel + 1, stride };
        let (size, n, shift) = ([clips * frames, h, w], clips * frames, shift.then_some(frames));
        let weight = numbers(shape.output * shape.window(), seed);
        let grad = numbers(n * shape.out(h) * shape.out(w) * shape.output, seed ^ 1);
        let taps = shape.kernel * shape.kernel;
        let mut x = vec![0.0_f64; n * h * w * shape.input];
        products(shape, size, shift, |o, c, tap, from, to| {
            x[from] += f64::from(weight[(o * shape.input + c) * taps + tap]) * f64::from(grad[to]);
        });
        for level in Level::available() {
            let mut out = vec![MaybeUninit::new(f32::NAN); x.len()];
            Gradient { level, shape, size, grad: &grad }.input(&weight, shift, &mut out);
            near("input", level, &read(out), &x)?;
        }
    }

    #[test]
    fn the_depthwise_gradients_are_the_sums(
        (channels, kernel, stride) in (1_usize..70, 0_usize..4, 1_usize..4),
        (n, h, w, seed) in (1_usize..4, 1_usize..16, 1_usize..16, any::<u32>()),
    ) {
        let shape = Shape { input: channels, output: channels, kernel: 2 * kernel + 1, stride };
        let (size, taps) = ([n, h, w], shape.kernel * shape.kernel);
        let (x, weight) = (numbers(n * h * w * channels, seed), numbers(shape.window(), seed ^ 1));
        let grad = numbers(n * shape.out(h) * shape.out(w) * channels, seed ^ 2);
        let (mut of_x, mut of_weight) = (vec![0.0_f64; x.len()], vec![0.0_f64; weight.len()]);
        products(shape, size, None, |o, c, tap, from, to| {
            if o == c {
                of_x[from] += f64::from(weight[c * taps + tap]) * f64::from(grad[to]);
                of_weight[c * taps + tap] += f64::from(x[from]) * f64::from(grad[to]);
            }
        });
        for level in Level::available() {
            let gradient = Gradient { level, shape, size, grad: &grad };
            let mut out = vec![MaybeUninit::new(f32::NAN); x.len()];
            gradient.depthwise_input(&weight, &mut out);
            near("input", level, &read(out), &of_x)?;
            near("weight", level, &gradient.depthwise_weight(&x), &of_weight)?;
        }
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
    let all = |shape: Shape, size: [usize; 3], threads| {
        let [n, h, w] = size;
        let x = numbers(n * h * w * shape.input, 1);
        let grad = numbers(n * shape.out(h) * shape.out(w) * shape.output, 2);
        let weight = numbers(shape.output * shape.window(), 3);
        let gradient = Gradient { level: Level::best(), shape, size, grad: &grad };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut out = vec![MaybeUninit::new(f32::NAN); x.len()];
            gradient.input(&weight, None, &mut out);
            let mut all = vec![read(out)];
            all.extend([gradient.weight(&x, None), gradient.bias()]);
            if shape.input == shape.output {
                let mut out = vec![MaybeUninit::new(f32::NAN); x.len()];
                gradient.depthwise_input(&weight[..shape.window()], &mut out);
                all.push(read(out));
                all.push(gradient.depthwise_weight(&x));
            }
            all
        })
    };
    for (input, output, kernel, stride) in
        [(24, 24, 3, 1), (24, 40, 3, 2), (32, 32, 3, 1), (40, 40, 1, 1), (40, 40, 3, 2)]
    {
        let (shape, size) = (Shape { input, output, kernel, stride }, [5, 40, 37]);
        let one = all(shape, size, 1);
        assert!(
            one == all(shape, size, 2) && one == all(shape, size, 3) && one == all(shape, size, 7),
            "{shape:?}"
        );
    }
}

#[test]
fn a_weight_gradient_of_more_patches_than_are_kept_is_the_sum() {
    let (shape, size) = (Shape { input: 16, output: 112, kernel: 3, stride: 1 }, [1, 124, 124]);
    let (x, grad) = (numbers(124 * 124 * 16, 1), numbers(124 * 124 * 112, 2));
    let mut weight = vec![0.0_f64; 112 * 16 * 9];
    products(shape, size, None, |o, c, tap, from, to| {
        weight[(o * 16 + c) * 9 + tap] += f64::from(x[from]) * f64::from(grad[to]);
    });
    for level in Level::available() {
        let found = Gradient { level, shape, size, grad: &grad }.weight(&x, None);
        near("weight", level, &found, &weight).unwrap();
    }
}

#[test]
fn channels_come_last() {
    let weight: Vec<f32> = (0..2 * 3 * 9).map(|i| i as f32).collect();
    let turned = channels_last(&weight, 2, 3, 9);
    assert_eq!(turned[0..4], [0.0, 9.0, 18.0, 1.0]);
    assert_eq!(turned[27..30], [27.0, 36.0, 45.0]);
}
