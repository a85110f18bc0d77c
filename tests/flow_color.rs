//! Do displacements have the colours of the Middlebury code?
//!
//! Against `flow_vis`, within one level: its last step is `floor(255 c)`, where the last bit of a float decides.
#![allow(clippy::unwrap_used, reason = "a test that cannot read its fixture has failed")]

use std::path::PathBuf;

use motion_view::wheel;
use safetensors::SafeTensors;

fn golden() -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden/flow_color.safetensors");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn flow(file: &SafeTensors, case: &str) -> Vec<f32> {
    let tensor = file.tensor(&format!("{case}.flow")).unwrap();
    let (values, _) = tensor.data().as_chunks::<4>();
    values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// The reference divides by the longest displacement and a little more.
fn longest(flow: &[f32]) -> f32 {
    flow.chunks(2).map(|d| d[0].hypot(d[1])).fold(0.0, f32::max) + 1e-5
}

/// The largest difference of a level, and how many levels differ at all.
fn differences(rgba: &[u8], rgb: &[u8]) -> (u8, usize) {
    assert_eq!(rgba.len() / 4, rgb.len() / 3);
    let pairs = rgba.chunks(4).zip(rgb.chunks(3));
    let all = pairs.flat_map(|(found, expected)| (0..3).map(|c| found[c].abs_diff(expected[c])));
    all.fold((0, 0), |(largest, count), d| (largest.max(d), count + usize::from(d > 0)))
}

#[test]
fn the_rim_is_the_reference_wheel() {
    let bytes = golden();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(wheel::COLOURS.concat(), file.tensor("colorwheel").unwrap().data());
}

#[test]
fn colours_equal_the_reference() {
    let bytes = golden();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for (case, array, normalised) in [
        ("grid", "grid.rgb", true),
        ("grid", "grid.rgb_not_normalized", false),
        ("random", "random.rgb", true),
        ("zero", "zero.rgb", true),
    ] {
        let flow = flow(&file, case);
        let scale = if normalised { longest(&flow) } else { 1.0 };
        let rgba = wheel::displacement_rgba(&flow, scale);
        assert!(rgba.chunks(4).all(|pixel| pixel[3] == 255));
        let expected = file.tensor(array).unwrap();
        let (largest, count) = differences(&rgba, expected.data());
        eprintln!("{array}: {count} of {} levels differ, by at most {largest}", expected.data().len());
        assert!(largest <= 1, "{array}: {largest} levels apart");
    }
}

#[test]
fn a_mirrored_flow_is_noticed() {
    let bytes = golden();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut flow = flow(&file, "random");
    let scale = longest(&flow);
    flow.iter_mut().step_by(2).for_each(|dx| *dx = -*dx);
    let (largest, _) =
        differences(&wheel::displacement_rgba(&flow, scale), file.tensor("random.rgb").unwrap().data());
    assert!(largest > 1);
}
