//! Layers and a camera in, pictures and what is needed for their flow out.

use super::flow::FlowField;
use super::lens::Lens;
use super::motion::{Arm, Camera, Motion, Visit};
use super::place::{Affine, Back, Place};
use super::raster::{Canvas, Sprite};
use super::shape::arm_angle;

/// Width and height of the scene's own pixels; other picture sizes are scaled from it.
pub(crate) const SIZE: [f32; 2] = [320.0, 240.0];

/// One thing of the scene.
pub(crate) struct Layer {
    pub(crate) sprite: Sprite,
    /// Dark copy and its offset in pixels, drawn just before the thing.
    pub(crate) shadow: Option<(Sprite, [f32; 2])>,
    pub(crate) motion: Motion,
    pub(crate) part: Part,
    /// 1 is the background; nearer things have more.
    pub(crate) depth: f32,
}

/// What of a thing that moves a layer is.
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// A limb that hangs at a joint and swings: amplitude in radians, cycles a clip and phase.
    Limb { joint: [f32; 2], swing: [f32; 3] },
    /// The hand that holds it.
    Hand(Hold),
    /// The upper arm of that hand.
    UpperArm(Hold),
}

/// How a hand holds a thing.
#[derive(Clone, Copy)]
pub(crate) struct Hold {
    /// Where on the thing, in its pixels.
    pub(crate) at: [f32; 2],
    /// Unit direction from there along a straight arm.
    pub(crate) from: [f32; 2],
    pub(crate) visit: Visit,
    /// An arm with an elbow, if it is not straight.
    pub(crate) arm: Option<Arm>,
}

impl Hold {
    /// Hand and upper arm -> the world; the hand's alone where the arm is straight.
    fn places(&self, carrier: Affine, time: f32) -> (Affine, Option<Affine>) {
        let &Self { at, from, visit, arm } = self;
        let [dx, dy] = visit.offset(time);
        let Some(arm) = arm else {
            let held = Affine::turn(arm_angle(from)).then(Affine::shift(at)).then(carrier);
            return (held.then(Affine::shift([dx, dy])), None);
        };
        let [x, y] = carrier.apply(at);
        let hand = [x + dx, y + dy];
        let scale = carrier.determinant().sqrt();
        // Who reaches in leans forward.
        let shoulder = [arm.shoulder[0] + 0.8 * dx, arm.shoulder[1] + 0.8 * dy];
        let grown = Arm { shoulder, lengths: arm.lengths.map(|length| length * scale), ..arm };
        let elbow = grown.elbow(hand);
        let along = |from: [f32; 2], to: [f32; 2]| {
            Affine::scale([scale; 2])
                .then(Affine::turn(arm_angle([to[0] - from[0], to[1] - from[1]])))
                .then(Affine::shift(from))
        };
        (along(hand, elbow), Some(along(elbow, shoulder)))
    }
}

impl Layer {
    /// Layer -> the world.
    pub(crate) fn place(&self, time: f32) -> Place {
        match &self.part {
            Part::Whole => self.motion.place(time),
            Part::Limb { joint, swing: [amplitude, cycles, phase] } => {
                let angle = amplitude * (std::f32::consts::TAU * cycles * time + phase).sin();
                Place::from(Affine::turn(angle))
                    .then(Affine::shift(*joint))
                    .then_all(&self.motion.place(time))
            }
            Part::Hand(hold) => hold.places(self.motion.carrier(time), time).0.into(),
            Part::UpperArm(hold) => {
                let (hand, upper) = hold.places(self.motion.carrier(time), time);
                upper.unwrap_or(hand).into()
            }
        }
    }
}

/// Everything a clip shows.
pub(crate) struct Scene {
    pub(crate) background: Sprite,
    /// From back to front.
    pub(crate) layers: Vec<Layer>,
    pub(crate) camera: Camera,
    pub(crate) lens: Lens,
}

/// One picture of a scene and what is needed for its flow.
pub(crate) struct View {
    /// Index of the front-most layer at each pixel; 0 is the background.
    owner: Vec<u8>,
    /// Layer coordinates -> pixels, for each layer, the background first.
    places: Vec<Place>,
}

impl Scene {
    /// The same scene without the camera's flaws.
    pub(crate) fn through_a_clear_lens(self) -> Self {
        Self { lens: Lens::CLEAN, ..self }
    }

    /// Draws the scene at a time in 0..=1: RGB bytes, and the view for [`flow`].
    pub(crate) fn frame(&self, width: usize, height: usize, time: f32, index: usize) -> (Vec<u8>, View) {
        let mut view = View { owner: Vec::new(), places: Vec::new() };
        let mut canvas = self.composite(width, height, time, Some(&mut view));
        let mut pictures = 1.0;
        if self.lens.shutter > 0.0 {
            for moment in [-0.5, 0.5] {
                let blurred = self.composite(width, height, time + moment * self.lens.shutter, None);
                canvas.add(&blurred);
                pictures += 1.0;
            }
        }
        (self.lens.expose(&mut canvas, 1.0 / pictures, time, index), view)
    }

    fn composite(&self, width: usize, height: usize, time: f32, view: Option<&mut View>) -> Canvas {
        let enlarge = Affine::scale([width as f32 / SIZE[0], height as f32 / SIZE[1]]);
        let mut canvas = Canvas::new(width, height);
        let mut places = vec![self.camera.view(time, 1.0).then(enlarge)];
        canvas.draw(&self.background, &places[0], None);
        let track = view.is_some();
        for (index, layer) in self.layers.iter().enumerate() {
            let world = layer.place(time);
            let camera = self.camera.view(time, layer.depth).then(enlarge);
            if let Some((shadow, offset)) = &layer.shadow {
                let place = world.clone().then(Affine::shift(*offset)).then_all(&camera);
                canvas.draw(shadow, &place, None);
            }
            let place = world.then_all(&camera);
            canvas.draw(&layer.sprite, &place, track.then_some(index as u8 + 1));
            places.push(place);
        }
        if let Some(view) = view {
            view.owner.clone_from(&canvas.owner);
            view.places = places;
        }
        canvas
    }
}

/// Where a layer's pixels go from one view to the next.
enum Move {
    Affine(Affine),
    Any(Back, Place),
}

impl Move {
    fn new(from: &Place, to: &Place) -> Self {
        match (from.affine(), to.affine()) {
            (Some(from), Some(to)) => Self::Affine(from.inverse().then(to)),
            _ => Self::Any(from.back(), to.clone()),
        }
    }

    fn apply(&self, from: [f32; 2]) -> Option<[f32; 2]> {
        match self {
            Self::Affine(map) => Some(map.apply(from)),
            Self::Any(back, place) => place.apply(back.apply(from)?),
        }
    }
}

/// True displacement from one view to the next of the same size: that of the layer seen at each pixel.
///
/// A pixel is visible if its point lands inside the next picture on a pixel of the same layer.
pub(crate) fn flow(now: &View, next: &View, width: usize, height: usize) -> FlowField {
    let moves: Vec<Move> = now.places.iter().zip(&next.places).map(|(a, b)| Move::new(a, b)).collect();
    let mut uv = vec![0.0; width * height * 2];
    let mut visible = vec![0; width * height];
    let (columns, rows) = (width as f32, height as f32);
    for (i, ((uv, visible), &owner)) in uv.chunks_exact_mut(2).zip(&mut visible).zip(&now.owner).enumerate() {
        let from = [(i % width) as f32 + 0.5, (i / width) as f32 + 0.5];
        let Some([x, y]) = moves[owner as usize].apply(from) else { continue };
        uv[0] = x - from[0];
        uv[1] = y - from[1];
        if x >= 0.0 && y >= 0.0 && x < columns && y < rows {
            *visible = u8::from(next.owner[y as i32 as usize * width + x as i32 as usize] == owner);
        }
    }
    FlowField { width, height, uv, visible }
}
