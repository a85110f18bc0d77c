//! Are the maps right: units, directions, shapes, files?

use std::path::Path;

use crate::support::{
    arg, array, config_json, fails, frames, json, model, shared, succeeds, weights, write_model,
};

/// Median of one axis over the inner cells of one pair of `[pairs, 2, h, w]`.
fn median(shape: &[usize], values: &[f32], pair: usize, axis: usize) -> f32 {
    let [_, _, h, w] = *shape else { panic!("{shape:?}") };
    let map = &values[(pair * 2 + axis) * h * w..][..h * w];
    let inner = (1..h - 1).flat_map(|y| (1..w - 1).map(move |x| (y, x)));
    let mut inner: Vec<f32> = inner.map(|(y, x)| map[y * w + x]).collect();
    inner.sort_by(f32::total_cmp);
    inner[inner.len() / 2]
}

#[test]
fn a_texture_that_moves_has_its_displacement_in_source_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    // The network sees 64 x 64 with cells of 4 after res2; a source of 128 x 64 has cells of 8 x 4.
    for (size, step) in [
        ([64, 64], [8, 0]),
        ([64, 64], [-8, 0]),
        ([64, 64], [0, 8]),
        ([64, 64], [0, -8]),
        ([128, 64], [16, 0]),
    ] {
        let name = format!("{size:?}{step:?}");
        let frames = frames(&folder.path().join(&name), 4, size, step);
        let out = folder.path().join(format!("{name} maps"));
        succeeds(&[
            "maps",
            arg(&frames),
            "--model",
            arg(&model),
            "--out",
            arg(&out),
            "--format",
            "npz",
            "--stage",
            "res2",
        ]);
        let npz = out.join("maps.npz");
        let (shape, values) = array(&npz, "displacement.res2");
        assert_eq!(shape, [3, 2, 16, 16]);
        assert_eq!(array(&npz, "cell.res2"), (vec![2], vec![size[0] as f32 / 16.0, 4.0]));
        for pair in 0..3 {
            for (axis, &step) in step.iter().enumerate() {
                let found = median(&shape, &values, pair, axis);
                let expected = step as f32;
                assert!(
                    (found - expected).abs() < 1.0,
                    "{name}: pair {pair}, axis {axis}: {found}, expected {expected}"
                );
            }
        }
    }
}

#[test]
fn all_formats_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (model, frames) = (model(folder.path()), frames(folder.path(), 6, [90, 70], [4, 2]));
    let out = folder.path().join("deep/er/maps");
    let args = ["maps", arg(&frames), "--model", arg(&model), "--out", arg(&out), "--stage", "res2,res3"];
    let ran = succeeds(&[&args[..], &["--format", "png,flo,npz,csv,gif", "--json"]].concat());
    let report = json(&ran.stdout);
    assert_eq!(report["frames"], serde_json::json!([0, 2, 3, 5]));
    assert_eq!(report["stages"][0]["probe"], true);
    assert_eq!(report["stages"][1]["probe"], false);
    let mut listed: Vec<&str> =
        report["files"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
    listed.push("maps.json");
    listed.sort_unstable();
    let mut found: Vec<String> =
        out.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    assert_eq!(listed, found);

    let npz = out.join("maps.npz");
    let (shape, displacement) = array(&npz, "displacement.res2");
    assert_eq!(shape, [3, 2, 16, 16]);
    assert_eq!(array(&npz, "confidence.res2").0, [3, 1, 16, 16]);
    let (_, times) = array(&npz, "times");
    assert_eq!(times, [0.0, 2.0 / 12.0, 3.0 / 12.0, 5.0 / 12.0]);
    for pair in 0..3 {
        let (size, flo) = read_flo(&out.join(format!("displacement.res2.{pair:04}.flo")));
        assert_eq!(size, [16, 16]);
        for (cell, value) in flo.iter().enumerate() {
            let npz = [0, 1].map(|axis| displacement[(pair * 2 + axis) * 256 + cell]);
            assert_eq!(*value, npz);
        }
    }
    let csv = std::fs::read_to_string(out.join("maps.csv")).unwrap();
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("stage,pair,time_from,time_to,row,column,x,y,dx,dy,confidence,argmax"));
    assert_eq!(lines.clone().count(), 3 * (256 + 64));
    let row: Vec<&str> = lines.nth(256 + 17).unwrap().split(',').collect();
    assert_eq!((row[0], row[1], row[4], row[5]), ("res2", "1", "1", "1"));
    assert_eq!(row[8].parse::<f32>().unwrap(), displacement[2 * 256 + 17]);
    let png = image::open(out.join("maps.png")).unwrap();
    assert!(png.width() > 4 * 224 && png.height() > 5 * 224);
    let gif = std::fs::File::open(out.join("maps.res3.gif")).unwrap();
    let gif = image::codecs::gif::GifDecoder::new(std::io::BufReader::new(gif)).unwrap();
    assert_eq!(image::AnimationDecoder::into_frames(gif).count(), 3);
}

fn read_flo(path: &Path) -> ([usize; 2], Vec<[f32; 2]>) {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[..4], b"PIEH");
    let side = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let values: Vec<f32> = bytes[12..].as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    ([side(4), side(8)], values.as_chunks().0.to_vec())
}

#[test]
fn every_frame_gives_every_pair() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    for count in [2, 3, 4, 5, 11] {
        let frames = frames(&folder.path().join(count.to_string()), count, [64, 64], [8, 0]);
        let out = frames.join("maps");
        let args = ["maps", arg(&frames), "--model", arg(&model), "--out", arg(&out), "--every-frame"];
        succeeds(&[&args[..], &["--format", "npz,flo", "--stage", "res2"]].concat());
        let (shape, values) = array(&out.join("maps.npz"), "displacement.res2");
        assert_eq!(shape, [count - 1, 2, 16, 16]);
        assert_eq!(array(&out.join("maps.npz"), "times").0, [count]);
        for pair in 0..count - 1 {
            let found = median(&shape, &values, pair, 0);
            assert!((found - 8.0).abs() < 1.0, "{count} frames, pair {pair}: {found}");
        }
    }
}

#[test]
fn full_size_has_a_value_for_every_pixel_that_the_network_sees() {
    let folder = tempfile::tempdir().unwrap();
    let (path, config) = (folder.path().join("model"), config_json("resnet18", true));
    let config = config.replace("\"resize\": [64, 64]", "\"resize\": [64, 96]");
    write_model(&path, &config, weights(&config));
    let frames = frames(folder.path(), 4, [192, 64], [4, 0]);
    let out = folder.path().join("maps");
    succeeds(&[
        "maps",
        arg(&frames),
        "--model",
        arg(&path),
        "--out",
        arg(&out),
        "--format",
        "flo,npz",
        "--size",
        "frame",
    ]);
    let (size, flo) = read_flo(&out.join("displacement.res3.0000.flo"));
    assert_eq!(size, [192, 64]);
    // The crop is the middle 64 of 96 columns: 128 of 192 source pixels. Unknown is above 1e9 in .flo, NaN in .npz.
    let (shape, npz) = array(&out.join("maps.npz"), "displacement.res3");
    assert_eq!(shape, [3, 2, 64, 192]);
    for (pixel, [dx, _]) in flo.iter().enumerate() {
        let seen = (32..160).contains(&(pixel % 192));
        assert_eq!(*dx < 1e9, seen, "pixel {pixel}");
        assert_eq!(npz[pixel].is_nan(), !seen, "pixel {pixel}");
    }
    assert_eq!(array(&out.join("maps.npz"), "cell.res3").1, [1.0, 1.0]);
}

#[test]
fn files_of_others_are_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (model, frames) = (model(folder.path()), frames(folder.path(), 4, [64, 64], [8, 0]));
    let out = folder.path().join("maps");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("maps.npz"), "somebody's").unwrap();
    let args = ["maps", arg(&frames), "--model", arg(&model), "--out", arg(&out), "--format", "npz"];
    fails(&args, &["maps.npz is there already", "--overwrite"]);
    assert_eq!(std::fs::read(out.join("maps.npz")).unwrap(), b"somebody's");
    assert_eq!(out.read_dir().unwrap().count(), 1);
    succeeds(&[&args[..], &["--overwrite"]].concat());
    // Its own files it replaces without asking.
    succeeds(&args);
    // A folder of results that is a file.
    let file = out.join("maps.npz");
    fails(
        &["maps", arg(&frames), "--model", arg(&model), "--out", arg(&file)],
        &["maps.npz", "cannot create the folder"],
    );
}

#[test]
fn a_model_without_modules_is_probed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, config) = (folder.path().join("model"), config_json("tsm_resnet18", false));
    write_model(&path, &config, weights(&config));
    let frames = frames(folder.path(), 4, [64, 64], [8, 0]);
    let out = folder.path().join("maps");
    let ran = succeeds(&[
        "maps",
        arg(&frames),
        "--model",
        arg(&path),
        "--out",
        arg(&out),
        "--format",
        "npz,png",
        "--json",
    ]);
    let stages = &json(&ran.stdout)["stages"];
    assert_eq!((&stages[0]["stage"], &stages[0]["probe"]), (&"res3".into(), &true.into()));
    assert!(array(&out.join("maps.npz"), "displacement.res3").1.iter().all(|d| d.is_finite()));
}

/// Real stereo pairs as two-frame folders: everything goes left.
#[test]
fn stereo_pairs_go_left() {
    let Some(flow) = shared("data/flow") else { return };
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let pair = folder.path().join("cloth3");
    std::fs::create_dir(&pair).unwrap();
    for view in ["view1.png", "view5.png"] {
        std::fs::copy(flow.join("cloth3").join(view), pair.join(view)).unwrap();
    }
    let out = folder.path().join("maps");
    succeeds(&[
        "maps",
        arg(&pair),
        "--model",
        arg(&model),
        "--out",
        arg(&out),
        "--format",
        "npz",
        "--every-frame",
        "--stage",
        "res2",
    ]);
    let (shape, values) = array(&out.join("maps.npz"), "displacement.res2");
    assert_eq!(shape[0], 1);
    // 22 to 83 pixels to the left, says the ground truth; filters here are random.
    let found = median(&shape, &values, 0, 0);
    assert!((-90.0..-10.0).contains(&found), "{found}");
}
