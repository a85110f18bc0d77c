//! Is the synthetic data set what it says: the class the motion, the flow the truth, the files complete?

use std::sync::atomic::{AtomicUsize, Ordering};

use motion_clip::Frame;
use motion_train::synth::{
    CLASSES, Dataset, Error, FlowField, RenderOptions, Split, Symmetry, SynthClip, WriteOptions,
    read_flow_png, render, write_dataset, write_flow_png,
};

const CLEAN: RenderOptions = RenderOptions { width: 320, height: 240, frames: 8, flow: true, clean: true };
const SPLITS: [Split; 2] = [Split::Train, Split::Test];

fn class(name: &str) -> usize {
    CLASSES.iter().position(|c| *c == name).unwrap_or_else(|| panic!("no class {name:?}"))
}

fn clip(class: usize, seed: u64, split: Split, options: &RenderOptions) -> SynthClip {
    render(class, seed, split, options).expect("arguments are in range")
}

/// Grey value between pixels; `x`, `y` from pixel centre to pixel centre.
fn grey(frame: &Frame, x: f32, y: f32) -> f32 {
    let at = |x: usize, y: usize| {
        let i = (y.min(frame.height - 1) * frame.width + x.min(frame.width - 1)) * 3;
        frame.rgb[i..i + 3].iter().map(|&v| f32::from(v)).sum::<f32>() / 3.0
    };
    let (x, y) = (x.max(0.0), y.max(0.0));
    let (ix, iy) = (x as usize, y as usize);
    let (fx, fy) = (x - ix as f32, y - iy as f32);
    let top = at(ix, iy) * (1.0 - fx) + at(ix + 1, iy) * fx;
    let bottom = at(ix, iy + 1) * (1.0 - fx) + at(ix + 1, iy + 1) * fx;
    top * (1.0 - fy) + bottom * fy
}

/// Mean grey difference of frame t to frame t + 1 fetched along the flow times `along`, where `counted` holds.
fn residual(a: &Frame, b: &Frame, flow: &FlowField, along: f32, counted: &[bool]) -> f32 {
    let (mut sum, mut n) = (0.0, 0);
    for i in (0..counted.len()).filter(|&i| counted[i]) {
        let (x, y) = ((i % a.width) as f32, (i / a.width) as f32);
        let (u, v) = (flow.uv[2 * i] * along, flow.uv[2 * i + 1] * along);
        sum += (grey(a, x, y) - grey(b, x + u, y + v)).abs();
        n += 1;
    }
    sum / n.max(1) as f32
}

/// Pixels that are visible and move at least `least` pixels.
fn moving(flow: &FlowField, least: f32) -> Vec<bool> {
    let speed = |i: usize| flow.uv[2 * i].hypot(flow.uv[2 * i + 1]);
    (0..flow.visible.len()).map(|i| flow.visible[i] == 1 && speed(i) >= least).collect()
}

#[test]
fn the_next_frame_fetched_along_the_flow_is_this_frame() {
    for split in SPLITS {
        for (class, name) in CLASSES.iter().enumerate() {
            let (mut with, mut without, mut reversed, mut pairs) = (0.0, 0.0, 0.0, 0);
            for seed in 0..4 {
                let clip = clip(class, seed, split, &CLEAN);
                for (pair, flow) in clip.frames.windows(2).zip(&clip.flow) {
                    let moving = moving(flow, 2.0);
                    // Enough pixels for a mean that means something.
                    if moving.iter().filter(|m| **m).count() < 200 {
                        continue;
                    }
                    with += residual(&pair[0], &pair[1], flow, 1.0, &moving);
                    without += residual(&pair[0], &pair[1], flow, 0.0, &moving);
                    reversed += residual(&pair[0], &pair[1], flow, -1.0, &moving);
                    pairs += 1;
                }
            }
            // Holding still hardly moves at all.
            if pairs < 5 {
                assert_eq!(*name, "Holding something", "{name} {split:?}: {pairs} pairs with motion");
                continue;
            }
            let n = pairs as f32;
            let (with, without, reversed) = (with / n, without / n, reversed / n);
            // What is left is resampling (textures a few pixels fine, drawn at two places between pixels) and
            // edges: a few grey levels, against several times that without the flow or along its reverse.
            assert!(with < 4.0, "{name} {split:?}: {with} grey levels along the flow");
            assert!(
                with < 0.4 * without && with < 0.4 * reversed,
                "{name} {split:?}: {with} along the flow, {without} without, {reversed} reversed"
            );
        }
    }
}

/// How a clip's visible moving pixels move, all of them together.
#[derive(Debug, Default)]
struct Tendency {
    /// Mean displacement.
    along: [f32; 2],
    /// Mean change of distance to the middle of what moves, as a share of that distance.
    growth: f32,
    /// Mean speed of turning about it, without sign, in radians.
    turning: f32,
    /// Share of all pixels that move.
    share: f32,
}

fn tendency(clip: &SynthClip) -> Tendency {
    let mut out = Tendency::default();
    let (mut all, mut pixels) = (0, 0.0);
    for flow in &clip.flow {
        let moving = moving(flow, 1.0);
        let indices: Vec<usize> = (0..moving.len()).filter(|&i| moving[i]).collect();
        all += moving.len();
        if indices.is_empty() {
            continue;
        }
        let n = indices.len() as f32;
        let place = |i: usize| [(i % flow.width) as f32, (i / flow.width) as f32];
        let mean = |value: &dyn Fn(usize) -> f32| indices.iter().map(|&i| value(i)).sum::<f32>() / n;
        let centre = [mean(&|i| place(i)[0]), mean(&|i| place(i)[1])];
        let along = [mean(&|i| flow.uv[2 * i]), mean(&|i| flow.uv[2 * i + 1])];
        let (mut outward, mut around, mut spread) = (0.0, 0.0, 0.0);
        for &i in &indices {
            let [x, y] = [place(i)[0] - centre[0], place(i)[1] - centre[1]];
            let (u, v) = (flow.uv[2 * i] - along[0], flow.uv[2 * i + 1] - along[1]);
            outward += x * u + y * v;
            around += x * v - y * u;
            spread += x * x + y * y;
        }
        pixels += n;
        out.along[0] += along[0] * n;
        out.along[1] += along[1] * n;
        out.growth += outward / spread.max(1.0) * n;
        out.turning += (around / spread.max(1.0)).abs() * n;
    }
    let n = f32::max(pixels, 1.0);
    Tendency {
        along: out.along.map(|v| v / n),
        growth: out.growth / n,
        turning: out.turning / n,
        share: pixels / all as f32,
    }
}

/// Share of clips of the class, of both splits, for which something holds.
fn share(name: &str, holds: impl Fn(&Tendency) -> bool) -> f32 {
    let seeds = 12;
    let options = RenderOptions { width: 160, height: 120, ..CLEAN };
    let mut n = 0;
    for split in SPLITS {
        for seed in 0..seeds {
            let clip = clip(class(name), 1000 + seed, split, &options);
            n += usize::from(holds(&tendency(&clip)));
        }
    }
    n as f32 / (2 * seeds) as f32
}

#[test]
fn directions_are_those_of_the_class() {
    let directed = [
        ("Moving something up", [0.0, -1.0]),
        ("Moving something down", [0.0, 1.0]),
        ("Pushing something from right to left", [-1.0, 0.0]),
        ("Pushing something from left to right", [1.0, 0.0]),
        ("Something falling like a rock", [0.0, 1.0]),
        // The scene goes against the camera.
        ("Turning the camera left while filming something", [1.0, 0.0]),
        ("Turning the camera right while filming something", [-1.0, 0.0]),
        ("Turning the camera upwards while filming something", [0.0, 1.0]),
        ("Turning the camera downwards while filming something", [0.0, -1.0]),
    ];
    for (name, [x, y]) in directed {
        let right = share(name, |t| {
            let (with, across) = (t.along[0] * x + t.along[1] * y, t.along[0] * y - t.along[1] * x);
            with > 0.5 && with > across.abs()
        });
        // Hands that reach out first or go back after, and arms that swing about an elbow, bring their own motion into
        // the mean.
        let least = if name.starts_with("Turning") { 1.0 } else { 0.6 };
        assert!(right >= least, "{name}: {right} of the clips go that way");
    }
}

#[test]
fn what_comes_nearer_grows() {
    for (name, sign) in [
        ("Moving something towards the camera", 1.0),
        ("Moving something away from the camera", -1.0),
        ("Approaching something with your camera", 1.0),
        ("Moving away from something with your camera", -1.0),
        ("Moving something and something away from each other", 1.0),
        ("Moving something and something closer to each other", -1.0),
    ] {
        let right = share(name, |t| t.growth * sign > 0.004);
        assert!(right >= 0.7, "{name}: {right} of the clips do");
    }
}

#[test]
fn cameras_move_everything_and_hands_only_a_part() {
    for (name, whole) in [
        ("Approaching something with your camera", true),
        ("Turning the camera left while filming something", true),
        ("Moving something towards the camera", false),
        ("Spinning something so it continues spinning", false),
        ("Holding something", false),
    ] {
        let wide = share(name, |t| t.share > 0.3);
        assert!(if whole { wide >= 0.8 } else { wide <= 0.25 }, "{name}: {wide} of the clips move widely");
    }
}

#[test]
fn spinning_turns_about_its_middle() {
    let turning = share("Spinning something so it continues spinning", |t| t.turning > 0.06);
    let pushed = share("Pushing something from left to right", |t| t.turning > 0.06);
    // A hand that leaves is in the mean too, and so are the limbs of who walks.
    assert!(turning >= 0.5 && pushed <= 0.25, "spinning {turning}, pushing {pushed}");
}

#[test]
fn a_clip_is_decided_by_its_arguments() {
    let options = RenderOptions::default();
    let first = clip(3, 42, Split::Train, &options);
    assert_eq!(first, clip(3, 42, Split::Train, &options));
    assert_eq!((first.frames.len(), first.flow.len(), first.label), (8, 7, 3));
    assert!(first.frames.iter().all(|f| f.check().is_ok() && (f.width, f.height) == (320, 240)));
    for (class, seed, split) in [(4, 42, Split::Train), (3, 43, Split::Train), (3, 42, Split::Test)] {
        assert_ne!(first.frames[0].rgb, clip(class, seed, split, &options).frames[0].rgb);
    }
    let blind = clip(3, 42, Split::Train, &RenderOptions { flow: false, ..options });
    assert!(blind.flow.is_empty() && blind.frames == first.frames);
}

#[test]
fn impossible_clips_are_errors() {
    let options = RenderOptions::default();
    let error = render(CLASSES.len(), 0, Split::Train, &options).expect_err("no such class").to_string();
    assert!(error.contains("26") && error.contains("0 to 25"), "{error}");
    for (width, height, frames) in [(0, 240, 8), (320, 15, 8), (320, 5000, 8), (320, 240, 0), (320, 240, 100)]
    {
        let found = render(0, 0, Split::Train, &RenderOptions { width, height, frames, ..options });
        assert!(matches!(found, Err(Error::Size { .. })), "{width} {height} {frames}");
    }
    // The smallest and an odd one are possible.
    for (width, height, frames) in [(16, 16, 1), (97, 55, 3)] {
        let clip = clip(0, 0, Split::Test, &RenderOptions { width, height, frames, ..options });
        assert_eq!(clip.frames.len(), frames);
    }
}

#[test]
fn flow_files_keep_a_64th_of_a_pixel() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("flow.png");
    let mut flow = clip(8, 5, Split::Test, &CLEAN).flow.remove(2);
    flow.uv[0] = -600.0;
    write_flow_png(&path, &flow).expect("the folder is there");
    let read = read_flow_png(&path).expect("just written");
    assert_eq!((read.width, read.height, &read.visible), (320, 240, &flow.visible));
    assert_eq!(read.uv[0], -512.0, "beyond the range it sticks to the end");
    let worst = read.uv.iter().zip(&flow.uv).skip(1).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= 0.5 / 64.0 + 1e-4, "{worst}");

    let picture = folder.path().join("picture.png");
    image::RgbImage::new(4, 4).save(&picture).expect("the folder is there");
    let error = read_flow_png(&picture).expect_err("8 bits").to_string();
    assert!(error.contains("picture.png") && error.contains("16-bit"), "{error}");
    std::fs::write(&picture, b"no png").expect("the folder is there");
    assert!(matches!(read_flow_png(&picture), Err(Error::Picture { .. })));
    assert!(matches!(read_flow_png(&folder.path().join("none.png")), Err(Error::Io { .. })));
}

#[test]
fn a_data_set_is_written_once_and_read_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("set");
    let options = WriteOptions { count: 28, seed: 3, split: Split::Test, frames: 3, width: 96, height: 72 };
    let finished = AtomicUsize::new(0);
    let progress = || {
        finished.fetch_add(1, Ordering::Relaxed);
    };
    let summary = write_dataset(&out, &options, progress).expect("a new folder");
    assert_eq!((summary.clips, summary.kept, summary.classes), (28, 0, 26));
    assert_eq!(finished.load(Ordering::Relaxed), 28);
    assert!(!folder.path().join("set.partial").exists());
    let again = write_dataset(&out, &options, || ()).expect_err("never overwritten").to_string();
    assert!(again.contains("not empty"), "{again}");

    let set = Dataset::open(&out).expect("just written");
    assert_eq!((set.count(), set.frames(), set.labels().len()), (28, 3, 26));
    let size = RenderOptions { width: 96, height: 72, frames: 3, ..RenderOptions::default() };
    let rendered = clip(1, 3 + 27, Split::Test, &size);
    let read = set.read(27).expect("the last clip");
    assert_eq!((read.label, read.frames.len(), read.flow.len()), (1, 3, 2));
    let (a, b) = (&rendered.frames[1].rgb, &read.frames[1].rgb);
    let difference =
        a.iter().zip(b).map(|(a, b)| (f32::from(*a) - f32::from(*b)).abs()).sum::<f32>() / a.len() as f32;
    assert!(difference < 6.0, "JPEG changes little: {difference}");
    assert_eq!(rendered.flow[1].visible, read.flow[1].visible);
    assert!(set.read(28).is_err());

    let readme = std::fs::read_to_string(out.join("README.md")).expect("explains the format");
    assert!(readme.contains("64 u + 32768"), "{readme}");
    let csv = std::fs::read_to_string(out.join("list.csv")).expect("a list for other programs");
    assert_eq!(csv.lines().count(), 29);
}

#[test]
fn an_interrupted_run_goes_on_and_other_options_do_not_mix_in() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (out, partial) = (folder.path().join("set"), folder.path().join("set.partial"));
    let options = WriteOptions { count: 3, seed: 3, split: Split::Train, frames: 2, width: 32, height: 32 };
    write_dataset(&out, &options, || ()).expect("a new folder");
    std::fs::rename(&out, &partial).expect("as if it had been interrupted");
    std::fs::remove_dir_all(partial.join("clips/moving-something-down_1")).expect("it was there");

    let other = WriteOptions { seed: 4, ..options };
    let error = write_dataset(&out, &other, || ()).expect_err("other options").to_string();
    assert!(error.contains("set.partial") && error.contains("remove"), "{error}");
    // An empty folder is as good as none.
    std::fs::create_dir(&out).expect("it is free");
    let summary = write_dataset(&out, &options, || ()).expect("goes on");
    assert_eq!((summary.clips, summary.kept), (3, 2));
    assert!(Dataset::open(&out).expect("complete").read(1).is_ok());
}

#[test]
fn what_is_no_data_set_is_said_to_be_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let error = Dataset::open(folder.path()).expect_err("empty").to_string();
    assert!(error.contains("labels.json"), "{error}");
    std::fs::write(folder.path().join("labels.json"), "[\"a\"]").expect("can write");
    let list = |text: &str| {
        std::fs::write(folder.path().join("list.json"), text).expect("can write");
        Dataset::open(folder.path()).map(|set| set.count()).map_err(|error| error.to_string())
    };
    assert!(list("[]").expect_err("no clips").contains("no clip"));
    let wrong = list(r#"[{"clip": "clips/x", "label": 1, "frames": 8, "seed": 0}]"#);
    assert!(wrong.expect_err("label").contains("label 1"));
    assert_eq!(list(r#"[{"clip": "clips/x", "label": 0, "frames": 8, "seed": 0}]"#), Ok(1));
    let none = WriteOptions { count: 0, ..WriteOptions::default() };
    assert!(matches!(write_dataset(&folder.path().join("n"), &none, || ()), Err(Error::Nothing)));
}

/// Seen mirrored, up stays up and left is right; reversed, closer is apart; nothing falls upwards.
#[test]
fn symmetries_exchange_the_right_classes() {
    let label = |name: &str| CLASSES.iter().position(|class| *class == name);
    let seen = |name: &str, mirrored, upside_down, reversed| {
        Symmetry { mirrored, upside_down, reversed }.label(label(name).unwrap())
    };
    assert_eq!(seen("Moving something up", true, false, false), label("Moving something up"));
    assert_eq!(seen("Moving something up", false, true, false), label("Moving something down"));
    assert_eq!(seen("Moving something up", false, true, true), label("Moving something up"));
    assert_eq!(
        seen("Pushing something from right to left", true, false, false),
        label("Pushing something from left to right")
    );
    assert_eq!(
        seen("Approaching something with your camera", true, true, true),
        label("Moving away from something with your camera")
    );
    assert_eq!(
        seen("Something falling like a rock", true, false, false),
        label("Something falling like a rock")
    );
    assert_eq!(seen("Something falling like a rock", false, false, true), None);
    assert_eq!(seen("Opening something", true, true, true), label("Closing something"));
    assert_eq!(seen("Picking something up", true, false, true), label("Putting something on a surface"));
    assert_eq!(seen("Picking something up", false, true, false), None);
    assert_eq!(seen("Tearing something into two pieces", false, false, true), None);
    for class in 0..CLASSES.len() {
        assert_eq!(Symmetry::default().label(class), Some(class));
        for bits in 0..8 {
            let symmetry =
                Symmetry { mirrored: bits & 1 != 0, upside_down: bits & 2 != 0, reversed: bits & 4 != 0 };
            if let Some(other) = symmetry.label(class) {
                assert_eq!(symmetry.label(other), Some(class), "twice is as before");
            }
        }
    }
}
