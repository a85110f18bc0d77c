//! Is every operation its own formula? Plain loops in f64, straight from the definition, against the CPU backend,
//! with variables (the way that trains) and without (fused).
//!
//! Sums of up to 500 products near 1 round to about 1e-6 in f32; 2e-5 relative to the largest value leaves room
//! for any order of summation.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{Tensor, Var};
use motion_net::backend::{
    Activation, Backend, ConvInput, ConvParameters, ConvSpec, NormParameters, Statistics,
};
use motion_net::{CpuBackend, Error, Estimation, Estimator, HostTensor};
use motionlens_tests::compare::{Report, compare};
use motionlens_tests::now;
use motionlens_tests::random::tensor as random;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const TOLERANCE: f32 = 2e-5;

/// A tensor filled by a function of its indices.
fn filled<const N: usize>(shape: [usize; N], value: impl Fn([usize; N]) -> f64) -> HostTensor {
    let data = (0..shape.iter().product::<usize>()).map(|mut flat| {
        let mut index = [0; N];
        for axis in (0..N).rev() {
            index[axis] = flat % shape[axis];
            flat /= shape[axis];
        }
        value(index) as f32
    });
    HostTensor::new(shape, data.collect()).unwrap()
}

/// One value; 0 outside of lines and columns.
fn at(x: &HostTensor, n: usize, y: isize, column: isize, c: usize) -> f64 {
    let &[_, h, w, channels] = x.shape.as_slice() else { panic!("four axes") };
    if y < 0 || column < 0 || y >= h as isize || column >= w as isize {
        return 0.0;
    }
    f64::from(x.data[((n * h + y as usize) * w + column as usize) * channels + c])
}

/// Both ways through the backend: without variables, and with them.
fn both_ways(
    report: &mut Report,
    kind: &str,
    case: &str,
    expected: &HostTensor,
    run: impl Fn(bool) -> Tensor,
) {
    let b = CpuBackend::new();
    let largest = expected.data.iter().fold(1.0_f32, |most, v| most.max(v.abs()));
    for learnt in [false, true] {
        let found = now(b.read(&run(learnt))).unwrap();
        let kind = if learnt { format!("{kind}, learnt") } else { kind.to_owned() };
        report.add(&kind, case, compare(&found, expected, TOLERANCE * largest, |_| false));
    }
}

fn upload(host: &HostTensor, learnt: bool) -> Tensor {
    let tensor = CpuBackend::new().upload(host).unwrap();
    if learnt { Var::from_tensor(&tensor).unwrap().into_inner() } else { tensor }
}

#[test]
fn conv2d() {
    let b = CpuBackend::new();
    let mut report = Report::default();
    for (n, h, w, input, output, kernel, stride, depthwise) in [
        (1, 1, 1, 1, 1, 1, 1, false),
        (1, 1, 1, 3, 2, 7, 2, false),
        (2, 5, 7, 3, 4, 1, 1, false),
        (2, 5, 7, 3, 4, 1, 2, false),
        (1, 6, 4, 5, 33, 3, 1, false),
        (3, 7, 5, 2, 3, 3, 2, false),
        (1, 13, 10, 3, 8, 7, 2, false),
        (2, 31, 29, 9, 17, 5, 1, false),
        (2, 40, 37, 33, 5, 1, 1, false),
        (1, 1, 1, 1, 1, 3, 1, true),
        (2, 5, 7, 3, 3, 7, 1, true),
        (1, 6, 9, 33, 33, 3, 2, true),
        (2, 8, 8, 64, 64, 3, 1, true),
        (1, 3, 2, 100, 100, 5, 3, true),
    ] {
        for (activation, low, high) in [
            (Activation::None, f64::NEG_INFINITY, f64::INFINITY),
            (Activation::Relu, 0.0, f64::INFINITY),
            (Activation::Relu6, 0.0, 6.0),
        ] {
            let taps = if depthwise { 1 } else { input };
            // Large enough for ReLU6 to reach its 6.
            let x = filled([n, h, w, input], {
                let x = random(&[n, h, w, input], 1);
                move |[n, y, column, c]| 8.0 * at(&x, n, y as isize, column as isize, c)
            });
            let weight = random(&[output, taps, kernel, kernel], 2);
            let [bias, scale, shift, mean] = [3, 4, 5, 6].map(|seed| random(&[output], seed));
            let variance = filled([output], |[c]| 1.5 + f64::from(mean.data[c]));
            let shape = [n, h.div_ceil(stride), w.div_ceil(stride), output];
            let residual = random(&shape, 8);
            let spec = ConvSpec { input, output, kernel, stride, depthwise, activation };
            let expected = filled(shape, |[n, y, column, o]| {
                let mut sum = f64::from(bias.data[o]);
                for ky in 0..kernel {
                    for kx in 0..kernel {
                        for i in 0..taps {
                            let pad = (kernel / 2) as isize;
                            let y = (y * stride + ky) as isize - pad;
                            let column = (column * stride + kx) as isize - pad;
                            let channel = if depthwise { o } else { i };
                            let weight = weight.data[((o * taps + i) * kernel + ky) * kernel + kx];
                            sum += at(&x, n, y, column, channel) * f64::from(weight);
                        }
                    }
                }
                let [scale, shift, mean, variance] =
                    [&scale, &shift, &mean, &variance].map(|v| f64::from(v.data[o]));
                let normed = (sum - mean) / (variance + 1e-5).sqrt() * scale + shift;
                (normed + at(&residual, n, y as isize, column as isize, o)).clamp(low, high)
            });
            both_ways(&mut report, "conv2d", &format!("{spec:?} at {n}x{h}x{w}"), &expected, |learnt| {
                let up = |host| upload(host, learnt);
                let norm = NormParameters {
                    scale: up(&scale),
                    shift: up(&shift),
                    mean: up(&mean),
                    variance: up(&variance),
                };
                let parameters =
                    ConvParameters { weight: up(&weight), bias: Some(up(&bias)), norm: Some(norm) };
                let conv = b.conv(spec, parameters).unwrap();
                let (x, residual) = (up(&x), up(&residual));
                let input = ConvInput {
                    x: &x,
                    shift: None,
                    residual: Some(&residual),
                    statistics: Statistics::Running,
                };
                b.conv2d(&conv, input).unwrap()
            });
        }
    }
    eprintln!("{report}");
    report.judge();
}

#[test]
fn pools_and_means() {
    let b = CpuBackend::new();
    let mut report = Report::default();
    for shape @ [n, h, w, c] in [[1, 1, 1, 1], [2, 2, 3, 5], [1, 7, 8, 33], [3, 9, 4, 16], [2, 1, 6, 2]] {
        let (x, case) = (random(&shape, 10), format!("{shape:?}"));
        let pooled = filled([n, h.div_ceil(2), w.div_ceil(2), c], |[n, y, column, c]| {
            let mut most = f64::NEG_INFINITY;
            for y in (2 * y).saturating_sub(1)..(2 * y + 2).min(h) {
                for column in (2 * column).saturating_sub(1)..(2 * column + 2).min(w) {
                    most = most.max(at(&x, n, y as isize, column as isize, c));
                }
            }
            most
        });
        both_ways(&mut report, "max_pool", &case, &pooled, |l| b.max_pool(&upload(&x, l)).unwrap());
        let unit = filled(shape, |[n, y, column, c]| {
            let of = |c| at(&x, n, y as isize, column as isize, c);
            of(c) / ((0..shape[3]).map(|c| of(c) * of(c)).sum::<f64>() + 1e-6).sqrt()
        });
        both_ways(&mut report, "unit_length", &case, &unit, |l| b.unit_length(&upload(&x, l)).unwrap());
        let mean = filled([n, c], |[n, c]| {
            let sum: f64 = (0..h * w).map(|i| at(&x, n, (i / w) as isize, (i % w) as isize, c)).sum();
            sum / (h * w) as f64
        });
        both_ways(&mut report, "global_mean", &case, &mean, |l| b.global_mean(&upload(&x, l)).unwrap());
    }
    let (x, weight, bias) = (random(&[6, 5], 11), random(&[4, 5], 12), random(&[4], 13));
    let linear = filled([6, 4], |[n, k]| {
        let of = |c| f64::from(x.data[n * 5 + c]) * f64::from(weight.data[k * 5 + c]);
        f64::from(bias.data[k]) + (0..5).map(of).sum::<f64>()
    });
    both_ways(&mut report, "linear", "6x5 to 4", &linear, |l| {
        let linear = b.linear(upload(&weight, l), upload(&bias, l)).unwrap();
        b.linear_forward(&linear, &upload(&x, l)).unwrap()
    });
    let mean = filled([2, 5], |[clip, k]| {
        (0..3).map(|t| f64::from(x.data[(clip * 3 + t) * 5 + k])).sum::<f64>() / 3.0
    });
    both_ways(&mut report, "frame_mean", "2 of 3", &mean, |l| b.frame_mean(&upload(&x, l), 3).unwrap());
    eprintln!("{report}");
    report.judge();
}

#[test]
fn frames_are_taken_apart_and_repeated() {
    let b = CpuBackend::new();
    let x = random(&[6, 2, 1, 3], 14);
    let frame = |i: usize| x.data[i * 6..(i + 1) * 6].to_vec();
    let of = |frames: &[usize]| {
        HostTensor::new([frames.len(), 2, 1, 3], frames.iter().flat_map(|i| frame(*i)).collect()).unwrap()
    };
    for learnt in [false, true] {
        let x = upload(&x, learnt);
        let (first, second) = b.frame_pairs(&x, 3).unwrap();
        assert_eq!(now(b.read(&first)).unwrap(), of(&[0, 1, 3, 4]));
        assert_eq!(now(b.read(&second)).unwrap(), of(&[1, 2, 4, 5]));
        let repeated = b.repeat_last(&x, 4).unwrap();
        assert_eq!(now(b.read(&repeated)).unwrap(), of(&[0, 1, 2, 2, 3, 4, 5, 5]));
        let both = b.concat(&[&x, &x]).unwrap();
        assert_eq!(b.shape(&both), [6, 2, 1, 6]);
        assert_eq!(
            now(b.read(&both)).unwrap().data[..6],
            [frame(0)[..3].to_vec(), frame(0)[..3].to_vec()].concat()
        );
    }
}

/// Correlation and displacement of one position, from their definitions (reference: paper, Eq. 1 to 4, with the
/// published code's Gaussian and without division by the number of channels).
fn definition(
    first: &HostTensor,
    second: &HostTensor,
    [n, y, x]: [usize; 3],
    estimation: &Estimation,
) -> (Vec<f64>, [f64; 4]) {
    let (patch, radius) = (estimation.patch as isize, estimation.radius() as isize);
    let cells: Vec<[isize; 2]> =
        (0..patch * patch).map(|p| [p / patch - radius, p % patch - radius]).collect();
    let (y, x) = (y as isize, x as isize);
    let scores: Vec<f64> = cells
        .iter()
        .map(|[dy, dx]| {
            let dot = |c| at(first, n, y, x, c) * at(second, n, y + dy, x + dx, c);
            (0..first.shape[3]).map(dot).sum::<f64>().max(0.0)
        })
        .collect();
    let best = (0..scores.len()).fold(0, |best, p| if scores[p] > scores[best] { p } else { best });
    let weight = |p: usize| {
        let distance = (cells[p][0] - cells[best][0]).pow(2) + (cells[p][1] - cells[best][1]).pow(2);
        let gaussian = match estimation.estimator {
            Estimator::Kernel => (-distance as f64 / (2.0 * estimation.sigma.powi(2))).exp(),
            Estimator::Soft => 1.0,
        };
        ((gaussian * scores[p] - scores[best]) / estimation.temperature).exp()
    };
    let total: f64 = (0..scores.len()).map(weight).sum();
    let mean = |axis: usize| {
        let sum: f64 = (0..scores.len()).map(|p| weight(p) * cells[p][axis] as f64).sum();
        sum / total / radius as f64
    };
    let found = [mean(1), mean(0), scores[best], best as f64];
    (scores, found)
}

#[test]
fn correlation_and_displacement() {
    let b = CpuBackend::new();
    let mut report = Report::default();
    for ([n, h, w, c], patch) in
        [([1, 1, 1, 1], 3), ([2, 3, 5, 4], 3), ([1, 9, 4, 7], 5), ([1, 4, 11, 16], 15), ([2, 17, 3, 33], 9)]
    {
        for estimator in [Estimator::Kernel, Estimator::Soft] {
            for temperature in [0.05, 1.0] {
                let estimation = Estimation { estimator, patch, sigma: 1.7, temperature };
                // Divided once, here: the definition sees the very numbers that the backend sees.
                let unit = |seed| {
                    let x = upload(&random(&[n, h, w, c], seed), false);
                    now(b.read(&b.unit_length(&x).unwrap())).unwrap()
                };
                let (first, second) = (unit(20), unit(21));
                let case = format!("{n}x{h}x{w}x{c} {estimation:?}");
                let score =
                    |[n, y, x, p]: [usize; 4]| definition(&first, &second, [n, y, x], &estimation).0[p];
                let scores = filled([n, h, w, patch * patch], score);
                both_ways(&mut report, "correlation", &case, &scores, |l| {
                    b.correlation(&upload(&first, l), &upload(&second, l), patch).unwrap()
                });
                let found =
                    |[n, y, x, i]: [usize; 4]| definition(&first, &second, [n, y, x], &estimation).1[i];
                let displacement = filled([n, h, w, 2], found);
                let confidence = filled([n, h, w, 1], |[n, y, x, _]| found([n, y, x, 2]));
                let argmax = filled([n, h, w, 1], |[n, y, x, _]| found([n, y, x, 3]));
                let matched =
                    |l| b.match_frames(&upload(&first, l), &upload(&second, l), &estimation).unwrap();
                both_ways(&mut report, "displacement", &case, &displacement, |l| matched(l).displacement);
                both_ways(&mut report, "confidence", &case, &confidence, |l| matched(l).confidence);
                both_ways(&mut report, "argmax", &case, &argmax, |l| matched(l).argmax);
                let one_by_one = b.displacement(&upload(&scores, false), &estimation).unwrap();
                both_ways(&mut report, "displacement of scores", &case, &displacement, |_| {
                    one_by_one.displacement.clone()
                });
            }
        }
    }
    eprintln!("{report}");
    report.judge();
}

/// The comparison can fail: one value in the middle is spoilt.
#[test]
fn a_spoilt_value_is_noticed() {
    let b = CpuBackend::new();
    let x = random(&[1, 6, 5, 3], 30);
    let found = now(b.read(&b.unit_length(&upload(&x, false)).unwrap())).unwrap();
    let mut spoilt = found.clone();
    spoilt.data[44] += 1e-3;
    assert!(compare(&found, &found, TOLERANCE, |_| false).passes());
    assert!(!compare(&spoilt, &found, TOLERANCE, |_| false).passes());
    spoilt.data[44] = f32::NAN;
    assert!(!compare(&spoilt, &found, TOLERANCE, |_| false).passes());
}

#[test]
fn dropout_keeps_the_mean_and_the_share() {
    let b = CpuBackend::with_seed(7);
    let ones = upload(&filled([100, 1000], |_| 1.0), false);
    let same = now(b.read(&b.dropout(&ones, 0.0).unwrap())).unwrap();
    assert!(same.data.iter().all(|v| *v == 1.0));
    let [first, second] = [(); 2].map(|()| now(b.read(&b.dropout(&ones, 0.25).unwrap())).unwrap().data);
    for dropped in [&first, &second] {
        let zeros = dropped.iter().filter(|v| **v == 0.0).count() as f64 / 1e5;
        // Five standard deviations of a share of 1/4 among 100,000.
        assert!((zeros - 0.25).abs() < 5.0 * (0.25_f64 * 0.75 / 1e5).sqrt(), "{zeros}");
        assert!(dropped.iter().all(|v| *v == 0.0 || (*v - 4.0 / 3.0).abs() < 1e-6));
    }
    assert_ne!(first, second, "each call draws anew");
    let again = now(CpuBackend::with_seed(7).read(&CpuBackend::with_seed(7).dropout(&ones, 0.25).unwrap()));
    assert_eq!(again.unwrap().data, first, "the same seed draws the same");
    assert!(b.dropout(&ones, 1.0).is_err() && b.dropout(&ones, f32::NAN).is_err());
}

/// Whatever does not fit is refused in words that name the operation; nothing panics.
#[test]
fn misfits_are_refused() {
    let b = CpuBackend::new();
    let x =
        |shape: &[usize]| upload(&HostTensor::new(shape, vec![0.5; shape.iter().product()]).unwrap(), false);
    let (map, flat, empty) = (x(&[2, 3, 4, 8]), x(&[2, 8]), x(&[2, 0, 4, 8]));
    let estimation = Estimation::default();
    let spec = ConvSpec {
        input: 8,
        output: 4,
        kernel: 3,
        stride: 1,
        depthwise: false,
        activation: Activation::None,
    };
    let parameters = |shape: &[usize]| ConvParameters { weight: x(shape), bias: None, norm: None };
    let conv = b.conv(spec, parameters(&[4, 8, 3, 3])).unwrap();
    let run = |x: &Tensor| b.conv2d(&conv, ConvInput::new(x, Statistics::Running)).map(|_| ());
    let misfits: Vec<(&str, motion_net::Result<()>)> = vec![
        ("conv2d", run(&x(&[2, 3, 4, 7]))),
        ("conv2d", run(&flat)),
        ("conv2d", run(&empty)),
        ("residual", {
            let residual = x(&[2, 3, 4, 5]);
            let statistics = Statistics::Running;
            let input = ConvInput { x: &map, shift: None, residual: Some(&residual), statistics };
            b.conv2d(&conv, input).map(|_| ())
        }),
        ("temporal_shift", {
            let input =
                ConvInput { x: &map, shift: Some(3), residual: None, statistics: Statistics::Running };
            b.conv2d(&conv, input).map(|_| ())
        }),
        ("conv weight", b.conv(spec, parameters(&[4, 7, 3, 3])).map(|_| ())),
        ("conv", b.conv(ConvSpec { kernel: 2, ..spec }, parameters(&[4, 8, 2, 2])).map(|_| ())),
        ("conv", b.conv(ConvSpec { stride: 0, ..spec }, parameters(&[4, 8, 3, 3])).map(|_| ())),
        ("conv", b.conv(ConvSpec { depthwise: true, ..spec }, parameters(&[4, 1, 3, 3])).map(|_| ())),
        ("conv bias", {
            b.conv(spec, ConvParameters { bias: Some(x(&[5])), ..parameters(&[4, 8, 3, 3]) }).map(|_| ())
        }),
        ("max_pool", b.max_pool(&flat).map(|_| ())),
        ("max_pool", b.max_pool(&empty).map(|_| ())),
        ("unit_length", b.unit_length(&flat).map(|_| ())),
        ("temporal_shift", b.temporal_shift(&map, 3).map(|_| ())),
        ("frame_pairs", b.frame_pairs(&map, 1).map(|_| ())),
        ("frame_pairs", b.frame_pairs(&map, 3).map(|_| ())),
        ("correlation", b.correlation(&map, &x(&[2, 3, 4, 9]), 3).map(|_| ())),
        ("correlation", b.correlation(&map, &map, 4).map(|_| ())),
        ("match_frames", b.match_frames(&map, &flat, &estimation).map(|_| ())),
        ("displacement", b.displacement(&map, &estimation).map(|_| ())),
        ("repeat_last", b.repeat_last(&map, 0).map(|_| ())),
        ("repeat_last", b.repeat_last(&map, 4).map(|_| ())),
        ("add", b.add(&map, &flat).map(|_| ())),
        ("multiply", b.multiply(&map, &flat).map(|_| ())),
        ("concat", b.concat(&[&map, &x(&[2, 3, 5, 8])]).map(|_| ())),
        ("global_mean", b.global_mean(&flat).map(|_| ())),
        ("linear", b.linear(x(&[4]), x(&[4])).map(|_| ())),
        ("linear", b.linear(x(&[4, 8]), x(&[5])).map(|_| ())),
        ("linear", b.linear_forward(&b.linear(x(&[4, 7]), x(&[4])).unwrap(), &flat).map(|_| ())),
        ("frame_mean", b.frame_mean(&flat, 3).map(|_| ())),
        ("frame_mean", b.frame_mean(&map, 2).map(|_| ())),
        ("tensor", b.upload(&HostTensor { shape: vec![2, 2], data: vec![0.0] }).map(|_| ())),
        ("tensor", b.parameter(HostTensor { shape: vec![2, 2], data: vec![0.0] }).map(|_| ())),
    ];
    for (i, (operation, result)) in misfits.into_iter().enumerate() {
        match result {
            Err(Error::Shape { operation: found, .. }) => assert!(found.contains(operation), "{i}: {found}"),
            other => panic!("{i}: {operation} gave {other:?}"),
        }
    }
    assert!(matches!(b.concat(&[]), Err(Error::Backend { .. })));
    let mut odd = estimation;
    odd.temperature = 0.0;
    assert!(matches!(b.match_frames(&map, &map, &odd), Err(Error::Config(_))));
}

/// Settings at the edge of f32 give numbers, not NaN.
#[test]
fn extreme_settings_stay_numbers() {
    let b = CpuBackend::new();
    let x = b.unit_length(&upload(&random(&[1, 4, 5, 6], 31), false)).unwrap();
    for (sigma, temperature) in [(1e-200, 1e-300), (1e200, 1e-45), (1e-3, 1e30), (5.0, 1e300)] {
        for estimator in [Estimator::Kernel, Estimator::Soft] {
            let estimation = Estimation { estimator, patch: 5, sigma, temperature };
            let found = b.match_frames(&x, &x, &estimation).unwrap();
            let data = now(b.read(&found.displacement)).unwrap().data;
            assert!(data.iter().all(|d| d.abs() <= 1.0 + 1e-6), "{estimation:?}: {data:?}");
        }
    }
}
