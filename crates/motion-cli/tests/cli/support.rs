//! What the tests of the program share: running it, a small model, videos and frames made on the spot.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use image::{Rgb, RgbImage};
use motion_net::weights::{ParameterSource, Role};
use motion_net::{Config, CpuBackend, HostTensor, MsNet, Weights};

/// What a run of the program left.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program, to be given arguments.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_motionlens"));
    // What is measured on a graphics card is kept here, not among the user's files.
    command.stdin(Stdio::null()).env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Runs it.
pub(crate) fn run(args: &[&str]) -> Ran {
    ran(program().args(args))
}

/// Runs a prepared command. No run may leave panic text.
pub(crate) fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ran = Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) };
    for word in ["panicked", "RUST_BACKTRACE", "internal error", "stack backtrace"] {
        assert!(!ran.stderr.contains(word), "{command:?}: {}", ran.stderr);
    }
    ran
}

/// Runs it and expects success.
pub(crate) fn succeeds(args: &[&str]) -> Ran {
    let ran = run(args);
    assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.stderr);
    ran
}

/// Runs it and expects failure with exactly one error line that holds all the hints.
pub(crate) fn fails(args: &[&str], hints: &[&str]) -> Ran {
    let ran = run(args);
    assert_eq!(ran.code, Some(1), "{args:?}: {} {}", ran.stdout, ran.stderr);
    let errors: Vec<&str> = ran.stderr.lines().filter(|line| !line.starts_with("note: ")).collect();
    assert_eq!(errors.len(), 1, "{args:?}: {}", ran.stderr);
    assert!(errors[0].starts_with("error: "), "{args:?}: {}", ran.stderr);
    for hint in hints {
        assert!(errors[0].contains(hint), "{args:?}: {hint:?} is not in {}", errors[0]);
    }
    ran
}

/// A path as an argument.
pub(crate) fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Whether videos can be decoded here; says so where not.
pub(crate) fn has_ffmpeg() -> bool {
    let found =
        Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("skipped: ffmpeg is not installed");
    }
    found
}

/// The folder of shared files that are not in the repository; says so where it is absent.
pub(crate) fn shared(part: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(part);
    if !path.exists() {
        eprintln!("skipped: no folder shared/{part} beside the repository");
        return None;
    }
    Some(path)
}

/// Runs ffmpeg to make a file.
pub(crate) fn ffmpeg(args: &[&str]) {
    let output = Command::new("ffmpeg").args(["-nostdin", "-v", "error", "-y"]).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The configuration of the small models: 64 x 64 pixels, 4 frames.
pub(crate) fn config_json(backbone: &str, motion: bool) -> String {
    let motion = if motion {
        r#""motion": {"stages": ["res3"], "patch": 7, "reduce_channels": 8, "estimator": "kernel"},"#
    } else {
        ""
    };
    format!(
        r#"{{"architecture": "msnet", "backbone": "{backbone}", "frames": 4, "input_size": 64, "resize": [64, 64],
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "sampling": "segment", "width": 0.125, {motion}
        "id2label": {{"0": "Up", "1": "Down", "2": "Still"}}}}"#
    )
}

/// Parameters that depend on nothing but their name and place.
#[derive(Default)]
struct Made(BTreeMap<String, HostTensor>);

impl ParameterSource<CpuBackend> for Made {
    fn parameter(
        &mut self,
        name: &str,
        shape: &[usize],
        role: Role,
    ) -> motion_net::Result<<CpuBackend as motion_net::Backend>::Parameter> {
        let count: usize = shape.iter().product();
        let mut state = name
            .bytes()
            .fold(0x9e37_79b9_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        let fan = (count / shape[0]).max(1) as f32;
        let data = (0..count)
            .map(|_| match role {
                Role::Weight => random() * (24.0 / fan).sqrt(),
                Role::Bias | Role::NormShift | Role::RunningMean => 0.1 * random(),
                Role::NormScale | Role::RunningVariance => 1.0 + 0.5 * random(),
            })
            .collect();
        let tensor = HostTensor { shape: shape.to_vec(), data };
        self.0.insert(name.to_owned(), tensor.clone());
        motion_net::Backend::parameter(&CpuBackend::new(), tensor)
    }
}

/// The parameters of a small model.
pub(crate) fn weights(config: &str) -> BTreeMap<String, HostTensor> {
    let mut made = Made::default();
    MsNet::build(&CpuBackend::new(), Config::from_json(config).unwrap(), &mut made).unwrap();
    made.0
}

/// Writes a model folder.
pub(crate) fn write_model(folder: &Path, config: &str, weights: BTreeMap<String, HostTensor>) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("config.json"), config).unwrap();
    let bytes = Weights::new(weights).to_safetensors(false).unwrap();
    std::fs::write(folder.join("model.safetensors"), bytes).unwrap();
}

/// A small model in a folder of its own: a ResNet-18 without temporal shift, one motion module.
pub(crate) fn model(folder: &Path) -> PathBuf {
    let (path, config) = (folder.join("model"), config_json("resnet18", true));
    write_model(&path, &config, weights(&config));
    path
}

/// A texture of 8 x 8 blocks that moves by whole pixels from frame to frame.
pub(crate) fn frame(width: u32, height: u32, moved: [i64; 2]) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (i64::from(x) - moved[0], i64::from(y) - moved[1]);
        let (column, row) = (x.div_euclid(4), y.div_euclid(4));
        let mut hash = (column.wrapping_mul(0x2c1b_3c6d) ^ row.wrapping_mul(0x297a_2d39)) as u64;
        hash = (hash ^ (hash >> 13)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Rgb([(hash >> 40) as u8, (hash >> 48) as u8, (hash >> 56) as u8])
    })
}

/// A folder of such frames.
pub(crate) fn frames(folder: &Path, count: usize, size: [u32; 2], step: [i64; 2]) -> PathBuf {
    let path = folder.join("frames");
    std::fs::create_dir_all(&path).unwrap();
    for i in 0..count {
        let moved = step.map(|side| side * i as i64);
        frame(size[0], size[1], moved).save(path.join(format!("{i:04}.png"))).unwrap();
    }
    path
}

/// A video without losses of a folder of frames, 12 per second.
pub(crate) fn lossless(frames: &Path, video: &Path) {
    let pattern = frames.join("%04d.png");
    ffmpeg(&["-framerate", "12", "-i", arg(&pattern), "-c:v", "png", "-pix_fmt", "rgb24", arg(video)]);
}

/// An array of a `.npz`: shape and values.
pub(crate) fn array(npz: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let mut zip = zip::ZipArchive::new(std::fs::File::open(npz).unwrap()).unwrap();
    let mut bytes = Vec::new();
    zip.by_name(&format!("{name}.npy")).unwrap().read_to_end(&mut bytes).unwrap();
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8(bytes[10..10 + length].to_vec()).unwrap();
    let sides = header.split_once('(').unwrap().1.split_once(')').unwrap().0;
    let shape = sides.split(',').filter_map(|side| side.trim().parse().ok()).collect();
    (shape, bytes[10 + length..].as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect())
}

/// A JSON document.
pub(crate) fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
