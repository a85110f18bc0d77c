//! Do frame selection, resize, crop and normalisation equal the published code's?
//!
//! Every array of `preprocess.safetensors` and every entry of `sampling.json` and `crop_offsets.json`,
//! bit for bit; the last test spoils one byte and expects the alarm.
#![allow(clippy::unwrap_used, reason = "a test that cannot read its fixture has failed")]

use std::path::PathBuf;

use motion_clip::{Frame, Preprocess, crop, resize, sample};
use safetensors::SafeTensors;
use serde_json::Value;

fn golden(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&golden(name)).unwrap()
}

fn numbers(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
}

/// A `[height, width, 3]` array of bytes.
fn picture(file: &SafeTensors, name: &str) -> Frame {
    let tensor = file.tensor(name).unwrap();
    let &[height, width, 3] = tensor.shape() else { panic!("{name}: shape {:?}", tensor.shape()) };
    Frame::new(width, height, tensor.data().to_vec(), 0.0).unwrap()
}

fn cut(frame: &Frame, [row, column]: [usize; 2], size: usize) -> Frame {
    let rgb = (row..row + size)
        .flat_map(|y| &frame.rgb[(y * frame.width + column) * 3..(y * frame.width + column + size) * 3])
        .copied()
        .collect();
    Frame::new(size, size, rgb, 0.0).unwrap()
}

fn every_4th(frame: &Frame) -> Frame {
    let side = frame.width.div_ceil(4);
    let rgb = (0..side * side)
        .flat_map(|i| {
            let at = (i / side * 4 * frame.width + i % side * 4) * 3;
            [frame.rgb[at], frame.rgb[at + 1], frame.rgb[at + 2]]
        })
        .collect();
    Frame::new(side, side, rgb, 0.0).unwrap()
}

/// How many bytes differ; sizes must agree.
fn differing(found: &Frame, expected: &Frame) -> usize {
    assert_eq!((found.width, found.height), (expected.width, expected.height));
    found.rgb.iter().zip(&expected.rgb).filter(|(a, b)| a != b).count()
}

#[test]
fn resize_equals_pillow() {
    let bytes = golden("preprocess.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for case in 0..5 {
        let input = picture(&file, &format!("unit{case}.input"));
        let expected = picture(&file, &format!("unit{case}.resized"));
        let found = resize::resize(&input, expected.height, expected.width).unwrap();
        assert_eq!(differing(&found, &expected), 0, "unit{case}");
    }
}

#[test]
fn view_and_clip_equal_the_something_pipeline() {
    let bytes = golden("preprocess.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let preprocess = Preprocess::default();
    for case in ["something0", "something1"] {
        let input = picture(&file, &format!("{case}.input"));
        let view = preprocess.view(&input).unwrap();
        assert_eq!(differing(&view, &picture(&file, &format!("{case}.center_crop"))), 0, "{case}");

        let clip = preprocess.clip(&[input]).unwrap();
        assert_eq!(clip.shape, [1, 224, 224, 3]);
        let rows = file.tensor(&format!("{case}.normalized_rows_0_32_cols_0_32")).unwrap();
        assert_eq!(rows.shape(), [3, 32, 32]);
        let (values, _) = rows.data().as_chunks::<4>();
        for (i, &value) in values.iter().enumerate() {
            let (channel, y, x) = (i / (32 * 32), i / 32 % 32, i % 32);
            let found = clip.data[(y * 224 + x) * 3 + channel];
            // Bit for bit: the same three f32 operations in the same order.
            assert_eq!(found.to_bits(), u32::from_le_bytes(value), "{case} {channel} {y} {x}");
        }
    }
}

#[test]
fn shorter_side_and_crops_equal_the_kinetics_pipeline() {
    let bytes = golden("preprocess.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    // Sizes and offsets from the golden index.
    let cases = [
        ("short0", [450, 256], [113, 16], [[96, 0], [96, 0], [96, 0]]),
        ("short1", [256, 455], [16, 116], [[0, 0], [0, 196], [0, 98]]),
    ];
    for (case, resized, crop_at, three) in cases {
        let input = picture(&file, &format!("{case}.input"));
        let [height, width] = resize::shorter_side(input.height, input.width, 256).unwrap();
        assert_eq!([height, width], resized);
        let offset = [crop::centre_offset(height, 224).unwrap(), crop::centre_offset(width, 224).unwrap()];
        assert_eq!(offset, crop_at);
        assert_eq!(crop::three_crops(height, width, 256).unwrap(), three);
        let found = every_4th(&cut(&resize::resize(&input, height, width).unwrap(), offset, 224));
        assert_eq!(differing(&found, &picture(&file, &format!("{case}.center_crop_every_4th"))), 0, "{case}");
    }
}

#[test]
fn crop_offsets_equal_pythons() {
    let expected = json("crop_offsets.json");
    let offsets = expected["center_crop_224_offset_by_side"].as_object().unwrap();
    assert!(offsets.len() > 250);
    for (side, offset) in offsets {
        let found = crop::centre_offset(side.parse().unwrap(), 224).unwrap();
        assert_eq!(found as u64, offset.as_u64().unwrap(), "side {side}");
    }
    let sizes = expected["shorter_side_256"].as_array().unwrap();
    assert!(sizes.len() > 10);
    for row in sizes {
        let [height, width, to_height, to_width] = numbers(row)[..] else { panic!("{row}") };
        assert_eq!(resize::shorter_side(height, width, 256).unwrap(), [to_height, to_width], "{row}");
    }
}

#[test]
fn frame_selection_equals_the_published_samplers() {
    let expected = json("sampling.json");
    let dense = |n, t| sample::dense_test(n, t, 10, sample::DENSE_WINDOW);
    type Sampler<'a> = &'a dyn Fn(usize, usize) -> Vec<usize>;
    let samplers: [(&str, Sampler<'_>); 4] = [
        ("segment_test", &sample::segment_test),
        ("segment_val", &sample::segment_val),
        ("segment_twice", &sample::segment_twice),
        ("dense_test", &dense),
    ];
    assert_eq!(expected.as_object().unwrap().len(), samplers.len());
    for (name, sampler) in samplers {
        for (t, videos) in expected[name].as_object().unwrap() {
            for (n, indices) in videos.as_object().unwrap() {
                let found = sampler(n.parse().unwrap(), t.parse().unwrap());
                assert_eq!(found, numbers(indices), "{name}, {n} frames, {t} segments");
            }
        }
    }
}

#[test]
fn one_level_of_one_pixel_is_noticed() {
    let bytes = golden("preprocess.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let expected = picture(&file, "unit0.resized");
    let mut spoilt = expected.clone();
    spoilt.rgb[7] ^= 1;
    assert_eq!(differing(&spoilt, &expected), 1);
}
