//! Nothing in, short videos for the page out: a few scenes of the test split, seen by a clear lens at full frame rate.

use motion_clip::Frame;

use super::scene::Scene;
use super::{ACTIONS, Error, RenderOptions, Split, director};

/// A demo video: one scene of the test split, whose surfaces and outlines no model was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demo {
    /// File name without extension.
    pub name: &'static str,
    /// What a person sees.
    pub title: &'static str,
    /// Index into [`super::CLASSES`]: what the model should answer.
    pub class: usize,
    /// Which scene of that class.
    pub seed: u64,
}

/// The videos on the page.
pub const DEMOS: [Demo; 7] = [
    Demo { name: "push_mug_right", title: "A hand pushes a mug to the right", class: 3, seed: 602 },
    Demo { name: "lift_pear", title: "A hand lifts a pear", class: 0, seed: 604 },
    Demo { name: "two_apart", title: "Two hands move two things apart", class: 12, seed: 511 },
    Demo { name: "ball_falls", title: "A ball falls and bounces", class: 13, seed: 615 },
    Demo { name: "camera_left", title: "The camera turns left", class: 6, seed: 511 },
    Demo { name: "spinning", title: "A hand sets something spinning", class: 10, seed: 511 },
    Demo { name: "towards_camera", title: "A hand brings a ball nearer", class: 4, seed: 603 },
];

/// Frames a second of a demo video.
pub const DEMO_FPS: usize = 30;
/// Its length.
pub const DEMO_SECS: f64 = 3.5;

/// Renders a demo video: [`DEMO_SECS`] at [`DEMO_FPS`], 320 x 240, without noise, blur or changes of light.
///
/// # Errors
/// [`Error::Class`] for a class that does not exist; none of [`DEMOS`] has one.
pub fn demo_clip(demo: &Demo) -> Result<Vec<Frame>, Error> {
    let &(_, action) = ACTIONS.get(demo.class).ok_or(Error::Class { found: demo.class })?;
    Ok(film(&director::scene(action, demo.seed, Split::Test, false).through_a_clear_lens()))
}

/// A scene from its beginning to its end.
pub(super) fn film(scene: &Scene) -> Vec<Frame> {
    let RenderOptions { width, height, .. } = RenderOptions::default();
    let count = (DEMO_SECS * DEMO_FPS as f64) as usize;
    let frame = |index| {
        let time_secs = index as f64 / DEMO_FPS as f64;
        let (rgb, _) = scene.frame(width, height, (time_secs / DEMO_SECS) as f32, index);
        Frame { width, height, rgb, time_secs }
    };
    (0..count).map(frame).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demos_can_be_drawn_and_told_apart() {
        let names: std::collections::HashSet<&str> = DEMOS.iter().map(|demo| demo.name).collect();
        assert_eq!(names.len(), DEMOS.len());
        let frames = demo_clip(&DEMOS[0]).expect("its class exists");
        assert_eq!(frames.len(), 105);
        assert_ne!(frames[0].rgb, frames[104].rgb, "something moves");
        assert!(demo_clip(&Demo { class: ACTIONS.len(), ..DEMOS[0] }).is_err());
    }
}
