//! Are the tensors of `forward` those of the contract?

use std::collections::BTreeMap;
use std::path::Path;

use motion_net::HostTensor;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::support::{arg, config_json, fails, json, model, run, succeeds, weights, write_model};

/// A clip of the given shape, each frame of its own kind.
pub(crate) fn write_clip(path: &Path, name: &str, shape: &[usize]) {
    let count: usize = shape.iter().product();
    let bytes: Vec<u8> = (0..count).flat_map(|i| ((i * 7 % 101) as f32 / 50.0 - 1.0).to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, shape.to_vec(), &bytes).unwrap();
    std::fs::write(path, safetensors::serialize([(name, view)], None).unwrap()).unwrap();
}

fn read(path: &Path) -> BTreeMap<String, HostTensor> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        let data = view.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        (name, HostTensor { shape: view.shape().to_vec(), data })
    });
    tensors.collect()
}

#[test]
fn names_and_shapes_are_those_of_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let (model, clip) = (model(folder.path()), folder.path().join("clip.safetensors"));
    let out = folder.path().join("out.safetensors");
    // Two clips, wider than the model's own input.
    write_clip(&clip, "clip", &[2, 4, 3, 48, 80]);
    succeeds(&["forward", "--model", arg(&model), "--clip", arg(&clip), "--out", arg(&out)]);
    let found = read(&out);
    let shapes: Vec<(&str, &[usize])> = found.iter().map(|(n, t)| (n.as_str(), t.shape.as_slice())).collect();
    let expected: [(&str, &[usize]); 5] = [
        ("argmax.res3", &[2, 3, 1, 6, 10]),
        ("confidence.res3", &[2, 3, 1, 6, 10]),
        ("displacement.res3", &[2, 3, 2, 6, 10]),
        ("logits", &[2, 3]),
        ("motion.res3", &[2, 4, 16, 6, 10]),
    ];
    assert_eq!(shapes, expected);
    assert!(found["displacement.res3"].data.iter().all(|d| d.abs() <= 1.0001));
    assert!(found["argmax.res3"].data.iter().all(|a| a.fract() == 0.0 && (0.0..49.0).contains(a)));
    // The motion feature of the last frame repeats the one before it.
    let motion = &found["motion.res3"].data;
    let frame = 16 * 6 * 10;
    assert_eq!(motion[2 * frame..3 * frame], motion[3 * frame..4 * frame]);
}

#[test]
fn a_clip_alone_is_a_batch_of_one_and_the_estimator_matters() {
    let folder = tempfile::tempdir().unwrap();
    let (model, clip) = (model(folder.path()), folder.path().join("clip.safetensors"));
    write_clip(&clip, "clip", &[4, 3, 64, 64]);
    let with = |estimator: &str| {
        let out = folder.path().join(format!("{estimator}.safetensors"));
        let args = ["forward", "--model", arg(&model), "--clip", arg(&clip), "--out", arg(&out), "--json"];
        let ran = succeeds(&[&args[..], &["--estimator", estimator]].concat());
        let report = json(&ran.stdout);
        assert_eq!(report["tensors"]["logits"], serde_json::json!([1, 3]));
        assert_eq!(report["backend"], "cpu");
        read(&out)
    };
    let (kernel, soft) = (with("kernel"), with("soft"));
    assert_eq!(kernel["confidence.res3"], soft["confidence.res3"]);
    assert_ne!(kernel["displacement.res3"], soft["displacement.res3"]);
    assert_ne!(kernel["logits"], soft["logits"]);
}

#[test]
fn clips_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (model, clip) = (model(folder.path()), folder.path().join("clip.safetensors"));
    let out = folder.path().join("out.safetensors");
    let args = ["forward", "--model", arg(&model), "--clip", arg(&clip), "--out", arg(&out)];
    for (name, shape, hints) in [
        ("clip", &[5, 3, 64, 64][..], &["5 frames", "expected 4"][..]),
        ("clip", &[4, 64, 64, 3], &["[4, 64, 64, 3]", "expected [T, 3, H, W]"]),
        ("clip", &[4, 3, 16, 16], &["at least 32"]),
        ("clip", &[0, 4, 3, 64, 64], &["is empty"]),
        ("video", &[4, 3, 64, 64], &["no tensor \"clip\"", "video"]),
    ] {
        write_clip(&clip, name, shape);
        fails(&args, hints);
    }
    std::fs::write(&clip, "no tensors").unwrap();
    fails(&args, &["clip.safetensors", "not a safetensors file"]);
    let nan: Vec<u8> = (0..4 * 3 * 32 * 32).flat_map(|_| f32::NAN.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![4, 3, 32, 32], &nan).unwrap();
    std::fs::write(&clip, safetensors::serialize([("clip", view)], None).unwrap()).unwrap();
    fails(&args, &["NaN at element 0"]);
    assert!(!out.exists(), "a failed run writes nothing");
}

/// The same numbers from the graphics card as from the processor, or a sentence that says what to do without one.
#[test]
fn the_graphics_card_gives_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (model, clip) = (model(folder.path()), folder.path().join("clip.safetensors"));
    write_clip(&clip, "clip", &[2, 4, 3, 64, 96]);
    let in_precision = |backend: &str, precision: &str| {
        let out = folder.path().join(format!("{backend}-{precision}.safetensors"));
        let args = ["forward", "--model", arg(&model), "--clip", arg(&clip), "--out", arg(&out), "--json"];
        (run(&[&args[..], &["--backend", backend, "--precision", precision]].concat()), out)
    };
    let on = |backend: &str| in_precision(backend, "f32");
    let (ran, _) = in_precision("cpu", "f16");
    assert!(ran.code != Some(0) && ran.stderr.contains("add --backend gpu"), "{}", ran.stderr);
    let (ran, out) = on("gpu");
    if ran.stderr.contains("no graphics adapter") {
        assert!(ran.code != Some(0) && ran.stderr.contains("--backend cpu"), "{}", ran.stderr);
        assert!(!out.exists());
        let (ran, _) = on("auto");
        assert!(ran.code == Some(0) && ran.stderr.contains("running on the processor"), "{}", ran.stderr);
        eprintln!("skipped: {}", ran.stderr);
        return;
    }
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(json(&ran.stdout)["backend"], "gpu");
    let (on_gpu, on_cpu) = (read(&out), read(&on("cpu").1));
    assert!(on_gpu.keys().eq(on_cpu.keys()));
    for (name, tensor) in &on_cpu {
        assert_eq!(on_gpu[name].shape, tensor.shape, "{name}");
        let largest = tensor.data.iter().fold(1.0_f32, |most, v| most.max(v.abs()));
        for (i, (a, b)) in on_gpu[name].data.iter().zip(&tensor.data).enumerate() {
            assert!((a - b).abs() < 1e-3 * largest, "{name} at {i}: {a} and {b}");
        }
    }
    let (ran, _) = on("auto");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("a small clip takes"), "{}", ran.stderr);
    // Weights rounded to 11 bits: near, but not the same. Not every card knows such numbers.
    let (ran, out) = in_precision("gpu", "f16");
    if ran.code != Some(0) {
        return assert!(ran.stderr.contains("shader-f16") && !out.exists(), "{}", ran.stderr);
    }
    let (halves, logits) = (read(&out), &on_cpu["logits"].data);
    let largest = logits.iter().fold(1.0_f32, |most, v| most.max(v.abs()));
    let apart = halves["logits"].data.iter().zip(logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart > 0.0 && apart < 0.05 * largest, "{apart} of {largest}");
}

#[test]
fn weights_of_a_module_that_is_left_out_are_a_note() {
    let folder = tempfile::tempdir().unwrap();
    let (model, clip) = (folder.path().join("model"), folder.path().join("clip.safetensors"));
    write_model(&model, &config_json("resnet18", false), weights(&config_json("resnet18", true)));
    write_clip(&clip, "clip", &[4, 3, 64, 64]);
    let out = folder.path().join("out.safetensors");
    let ran = succeeds(&["forward", "--model", arg(&model), "--clip", arg(&clip), "--out", arg(&out)]);
    assert!(ran.stderr.starts_with("note: "), "{}", ran.stderr);
    assert_eq!(read(&out).keys().collect::<Vec<_>>(), ["logits"]);
}
