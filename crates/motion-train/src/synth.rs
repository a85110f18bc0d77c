//! A class and a seed in, a labelled clip with its true flow out: procedural scenes whose class is the motion.
//!
//! A scene is a stack of layers (a surface, things, people's limbs, hands and arms), each with a motion that may turn,
//! tilt, stretch and bend it but can be undone in closed form, seen by a camera that may move too. So the displacement of
//! every pixel is known exactly. The steps, one file each: what surfaces look like (`texture`), what things look like
//! (`shape`), maps of the plane (`place`), how things move (`motion`), the set and its people (`director`), what happens in
//! each class (`actions`), pictures and flow of a scene (`scene`), drawing (`raster`), the camera's flaws (`lens`), the
//! true flow (`flow`), files (`dataset`), videos for the page (`demo`,
//! `failures`).

mod actions;
mod dataset;
mod demo;
mod director;
mod failures;
mod flow;
mod lens;
mod motion;
mod place;
mod raster;
mod scene;
mod shape;
mod texture;

use std::path::PathBuf;

use motion_clip::Frame;
use serde::{Deserialize, Serialize};

pub use dataset::{Dataset, Entry, Summary, WriteOptions, write_dataset};
pub use demo::{DEMO_FPS, DEMO_SECS, DEMOS, Demo, demo_clip};
pub use failures::{FAILURES, Failure, failure_clip};
pub use flow::{FlowField, FlowGrid, read_flow_png, write_flow_png};

/// What a scene shows; directions are those in the picture, x right and y down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Action {
    /// One thing is moved, mostly by hand.
    Carry {
        toward: [f32; 2],
    },
    /// The same, mostly from behind.
    Push {
        toward: [f32; 2],
    },
    /// One thing changes its distance to the camera.
    Depth {
        closer: bool,
    },
    /// The camera turns, so the whole scene goes the other way.
    Turn {
        scene: [f32; 2],
    },
    Spin,
    /// Two things change their distance to each other.
    Pair {
        closer: bool,
    },
    Fall,
    Hold,
    /// The camera changes its distance to everything.
    Dolly {
        closer: bool,
    },
    /// A hand takes something that lies there out of the picture, or brings it.
    Lift {
        up: bool,
    },
    /// Two things go opposite ways.
    Pass,
    Collide,
    Stretch,
    Squeeze,
    Tear,
    /// A lid, doors, a flower.
    Hinge {
        opens: bool,
    },
}

/// A way to look at a clip again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Symmetry {
    /// Left and right change places.
    pub mirrored: bool,
    /// Up and down change places.
    pub upside_down: bool,
    /// The last frame comes first.
    pub reversed: bool,
}

impl Symmetry {
    /// The label of a clip of class `label` seen this way; `None` where the set has no such class: nothing falls
    /// upwards.
    pub fn label(self, label: usize) -> Option<usize> {
        let turned = |[x, y]: [f32; 2]| {
            let x = if self.mirrored != self.reversed { -x } else { x };
            [x, if self.upside_down != self.reversed { -y } else { y }]
        };
        let seen = match ACTIONS.get(label)?.1 {
            Action::Carry { toward } => Action::Carry { toward: turned(toward) },
            Action::Push { toward } => Action::Push { toward: turned(toward) },
            Action::Turn { scene } => Action::Turn { scene: turned(scene) },
            Action::Depth { closer } => Action::Depth { closer: closer != self.reversed },
            Action::Pair { closer } => Action::Pair { closer: closer != self.reversed },
            Action::Dolly { closer } => Action::Dolly { closer: closer != self.reversed },
            Action::Hinge { opens } => Action::Hinge { opens: opens != self.reversed },
            // Nothing falls upwards, nothing torn grows together, and nothing is picked off the ceiling.
            Action::Fall | Action::Lift { .. } if self.upside_down => return None,
            Action::Fall | Action::Collide | Action::Tear | Action::Stretch | Action::Squeeze
                if self.reversed =>
            {
                return None;
            }
            Action::Lift { up } => Action::Lift { up: up != self.reversed },
            action @ (Action::Spin
            | Action::Hold
            | Action::Fall
            | Action::Pass
            | Action::Collide
            | Action::Stretch
            | Action::Squeeze
            | Action::Tear) => action,
        };
        ACTIONS.iter().position(|(_, action)| *action == seen)
    }
}

const ACTIONS: [(&str, Action); 26] = [
    ("Moving something up", Action::Carry { toward: [0.0, -1.0] }),
    ("Moving something down", Action::Carry { toward: [0.0, 1.0] }),
    ("Pushing something from right to left", Action::Push { toward: [-1.0, 0.0] }),
    ("Pushing something from left to right", Action::Push { toward: [1.0, 0.0] }),
    ("Moving something towards the camera", Action::Depth { closer: true }),
    ("Moving something away from the camera", Action::Depth { closer: false }),
    ("Turning the camera left while filming something", Action::Turn { scene: [1.0, 0.0] }),
    ("Turning the camera right while filming something", Action::Turn { scene: [-1.0, 0.0] }),
    ("Turning the camera upwards while filming something", Action::Turn { scene: [0.0, 1.0] }),
    ("Turning the camera downwards while filming something", Action::Turn { scene: [0.0, -1.0] }),
    ("Spinning something so it continues spinning", Action::Spin),
    ("Moving something and something closer to each other", Action::Pair { closer: true }),
    ("Moving something and something away from each other", Action::Pair { closer: false }),
    ("Something falling like a rock", Action::Fall),
    ("Holding something", Action::Hold),
    ("Approaching something with your camera", Action::Dolly { closer: true }),
    ("Moving away from something with your camera", Action::Dolly { closer: false }),
    ("Picking something up", Action::Lift { up: true }),
    ("Putting something on a surface", Action::Lift { up: false }),
    ("Moving something and something so they pass each other", Action::Pass),
    ("Moving something and something so they collide with each other", Action::Collide),
    ("Pulling two ends of something so that it gets stretched", Action::Stretch),
    ("Squeezing something", Action::Squeeze),
    ("Tearing something into two pieces", Action::Tear),
    ("Opening something", Action::Hinge { opens: true }),
    ("Closing something", Action::Hinge { opens: false }),
];

/// The names of the classes, in Something-Something's words; a label is an index into them.
pub const CLASSES: [&str; ACTIONS.len()] = {
    let mut names = [""; ACTIONS.len()];
    let mut i = 0;
    while i < ACTIONS.len() {
        names[i] = ACTIONS[i].0;
        i += 1;
    }
    names
};

/// Which half of the world a clip is drawn from: the splits share no surface, no outline, no hue and no seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// For training.
    #[default]
    Train,
    /// For testing.
    Test,
}

/// What [`render`] shall deliver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RenderOptions {
    /// Of a frame, in pixels.
    pub width: usize,
    /// Of a frame, in pixels.
    pub height: usize,
    /// Frames of the clip, at the middles of as many equal parts of it, as segment sampling takes them.
    pub frames: usize,
    /// Whether the true flow is wanted too.
    pub flow: bool,
    /// No shadows, no noise, no blur, no change of light: pictures that the flow explains fully.
    pub clean: bool,
}

impl Default for RenderOptions {
    /// 8 frames of 320 x 240 as a camera would see them, with flow.
    fn default() -> Self {
        Self { width: 320, height: 240, frames: 8, flow: true, clean: false }
    }
}

impl RenderOptions {
    fn check(&self) -> Result<(), Error> {
        let &Self { width, height, frames, .. } = self;
        let drawable = [width, height].iter().all(|side| (16..=4096).contains(side));
        if drawable && (1..=99).contains(&frames) {
            Ok(())
        } else {
            Err(Error::Size { width, height, frames })
        }
    }
}

/// A labelled clip.
#[derive(Clone, Debug, PartialEq)]
pub struct SynthClip {
    /// The sampled frames.
    pub frames: Vec<Frame>,
    /// One for each pair of neighbouring frames; empty where it was not asked for.
    pub flow: Vec<FlowField>,
    /// Index into [`CLASSES`].
    pub label: usize,
}

/// What can go wrong with the synthetic data set.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such class.
    #[error("class {found} asked for, expected 0 to {last}; see synth::CLASSES", last = CLASSES.len() - 1)]
    Class {
        /// The index asked for.
        found: usize,
    },
    /// No such clip can be drawn.
    #[error(
        "clips of {frames} frames of {width} x {height} pixels asked for, expected 1 to 99 frames and \
         16 to 4096 pixels a side"
    )]
    Size {
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
        /// Number of frames.
        frames: usize,
    },
    /// A data set of no clips was asked for.
    #[error("0 clips asked for, expected at least 1")]
    Nothing,
    /// Existing files are never overwritten.
    #[error("{path}: not empty; choose another folder or remove this one", path = path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// An interrupted run had other options.
    #[error(
        "{path}: left by an interrupted run with other options; repeat that run, or remove this folder",
        path = path.display()
    )]
    Unfinished {
        /// The folder.
        path: PathBuf,
    },
    /// The disk is full.
    #[error(
        "{path}: no space left on the device; make room and repeat the same command: the clips so far are kept",
        path = path.display()
    )]
    Full {
        /// The file that found no room.
        path: PathBuf,
    },
    /// A folder is not what [`write_dataset`] makes.
    #[error("{path}: {what}; expected a folder that `motionlens synth` wrote", path = path.display())]
    NotDataset {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A file or folder cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A picture cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Picture {
        /// Which one.
        path: PathBuf,
        /// The codec's reason.
        source: image::ImageError,
    },
    /// A PNG is not a flow file.
    #[error(
        "{path}: pixels are {found}, expected 16-bit RGB as in KITTI's flow files; is this a flow file?",
        path = path.display()
    )]
    NotFlow {
        /// Which one.
        path: PathBuf,
        /// Its kind of pixels.
        found: String,
    },
}

/// Seconds that a clip stands for: typical of Something-Something.
const CLIP_SECS: f64 = 3.0;

/// Renders one clip; the same for the same arguments, on the same machine to the bit.
///
/// # Errors
/// [`Error::Class`] and [`Error::Size`] for arguments out of range.
pub fn render(class: usize, seed: u64, split: Split, options: &RenderOptions) -> Result<SynthClip, Error> {
    let &(_, action) = ACTIONS.get(class).ok_or(Error::Class { found: class })?;
    let &RenderOptions { width, height, frames, flow, clean } = options;
    options.check()?;
    let scene = director::scene(action, seed, split, clean);
    let mut clip = SynthClip { frames: Vec::with_capacity(frames), flow: Vec::new(), label: class };
    let mut before: Option<scene::View> = None;
    for index in 0..frames {
        let time = (index as f64 + 0.5) / frames as f64;
        let (rgb, view) = scene.frame(width, height, time as f32, index);
        clip.frames.push(Frame { width, height, rgb, time_secs: time * CLIP_SECS });
        if let (true, Some(before)) = (flow, &before) {
            clip.flow.push(scene::flow(before, &view, width, height));
        }
        before = Some(view);
    }
    Ok(clip)
}
