//! Does a checkpoint become a model folder that does the same?

use std::collections::BTreeMap;

use motion_net::{HostTensor, Weights};

use crate::forward::write_clip;
use crate::support::{arg, config_json, fails, json, model, shared, succeeds, weights};

/// The small model's parameters as a training script would save them.
fn checkpoint() -> Vec<u8> {
    let named = weights(&config_json("resnet18", true)).into_iter();
    let tensors: BTreeMap<String, HostTensor> =
        named.map(|(name, tensor)| (format!("module.{name}"), tensor)).collect();
    Weights::new(tensors).to_safetensors(false).unwrap()
}

#[test]
fn a_converted_model_gives_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let (source, labels, config) =
        (place("checkpoint.safetensors"), place("labels.txt"), place("config.json"));
    std::fs::write(&source, checkpoint()).unwrap();
    std::fs::write(&labels, "One\nTwo\nThree\n").unwrap();
    std::fs::write(&config, config_json("resnet18", true)).unwrap();
    let out = place("converted");
    let args =
        ["convert", arg(&source), "--out", arg(&out), "--config", arg(&config), "--labels", arg(&labels)];
    let report = json(&succeeds(&[&args[..], &["--json", "--sort-labels"]].concat()).stdout);
    assert_eq!(report["config"]["id2label"], serde_json::json!({"0": "One", "1": "Three", "2": "Two"}));

    let clip = place("clip.safetensors");
    write_clip(&clip, "clip", &[4, 3, 64, 64]);
    let forward = |model: &std::path::Path, name: &str| {
        let out = place(name);
        succeeds(&["forward", "--model", arg(model), "--clip", arg(&clip), "--out", arg(&out)]);
        std::fs::read(out).unwrap()
    };
    let original = model(folder.path());
    assert_eq!(forward(&out, "a.safetensors"), forward(&original, "b.safetensors"));

    fails(&args, &["config.json is there already", "--overwrite"]);
    succeeds(&[&args[..], &["--overwrite", "--f16"]].concat());
    let (half, whole) = (out.join("model.safetensors"), original.join("model.safetensors"));
    let size = |path: &std::path::Path| std::fs::metadata(path).unwrap().len() as f64;
    assert!(size(&half) < 0.7 * size(&whole));
}

#[test]
fn what_is_no_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let (source, out) = (folder.path().join("checkpoint.pth"), folder.path().join("out"));
    let labels = folder.path().join("labels.txt");
    let args = ["convert", arg(&source), "--out", arg(&out)];
    fails(&args, &["checkpoint.pth", "No such file"]);
    for (bytes, hint) in
        [(&b"text"[..], "checkpoint"), (b"PK\x03\x04 and no more", "checkpoint"), (b"\x80\x02", "checkpoint")]
    {
        std::fs::write(&source, bytes).unwrap();
        fails(&args, &["checkpoint.pth", hint]);
    }
    std::fs::write(&source, checkpoint()).unwrap();
    std::fs::write(&labels, "One\nTwo\n").unwrap();
    fails(&[&args[..], &["--labels", arg(&labels)]].concat(), &["2 labels", "3 classes"]);
    assert!(!out.exists(), "a failed run writes nothing");
}

#[test]
fn both_layouts_of_the_release_are_read() {
    let Some(golden) = shared("golden") else { return };
    let folder = tempfile::tempdir().unwrap();
    for name in ["checkpoint_legacy.pth.tar", "checkpoint_zip.pth.tar"] {
        // They are read, but hold a few tensors of every kind and not a whole network: the answer says so.
        let (source, out) = (golden.join(name), folder.path().join(name));
        fails(&["convert", arg(&source), "--out", arg(&out)], &[name, "is the state dict whole?"]);
    }
}
