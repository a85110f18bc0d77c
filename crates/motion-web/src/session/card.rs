//! The graphics card as the page has it: frames to it, pictures from it, without the processor. In: a backend.
//! Out: views and pictures on it, where this browser can do that.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use motion_clip::Preprocess;
use motion_net::GpuBackend;
use motion_net::gpu::{Pixels, Precision, ViewPlan};
use wasm_bindgen::prelude::*;
use web_sys::{ImageBitmap, OffscreenCanvas, OffscreenCanvasRenderingContext2d};

use crate::Result;
use crate::orientation::Orientation;

/// The sizes of the frame that a plan is for, and how it is seen.
type Planned = ([usize; 2], Preprocess, ViewPlan);

/// A card, and what this browser lets it do beside computing.
#[derive(Clone)]
pub(super) struct Card {
    pub(super) backend: Rc<GpuBackend>,
    pub(super) precision: Precision,
    /// What it draws arrives. Some browsers show nothing and say nothing.
    pub(super) draws: bool,
    /// Frames can be copied to it; until it is found that they cannot.
    copies: Rc<Cell<bool>>,
    plan: Rc<RefCell<Option<Planned>>>,
}

impl Card {
    pub(super) async fn open(precision: Precision) -> Result<Self> {
        let mut backend = GpuBackend::open_with(None, precision).await?;
        let mut copies = true;
        let draws = match draws(&backend).await {
            Ok(draws) => draws,
            // Browsers without a graphics system of their own lose the card over that: it is for numbers alone.
            Err(_) => {
                backend = GpuBackend::open_with(None, precision).await?;
                copies = false;
                false
            }
        };
        Ok(Self {
            backend: Rc::new(backend),
            precision,
            draws,
            copies: Rc::new(Cell::new(copies)),
            plan: Rc::default(),
        })
    }

    pub(super) fn copies(&self) -> bool {
        self.copies.get()
    }

    /// A decoded frame, straight from the browser; `None` where its pixels have to be fetched.
    pub(super) fn copy(&self, frame: &ImageBitmap, [width, height]: [usize; 2]) -> Option<Pixels> {
        if !self.copies() || !self.backend.takes_pixels(width, height) {
            return None;
        }
        let copied = self.backend.copy_picture(frame, width, height).ok();
        self.copies.set(copied.is_some());
        copied
    }

    /// What the network sees of a frame.
    pub(super) fn view(
        &self,
        frame: &Pixels,
        orientation: Orientation,
        preprocess: &Preprocess,
    ) -> Result<Pixels> {
        let [width, height] = frame.size();
        let upright = orientation.size(width, height);
        let mut plan = self.plan.borrow_mut();
        let fits = |(size, how, _): &Planned| *size == upright && how == preprocess;
        let plan = match plan.take().filter(fits) {
            Some(kept) => plan.insert(kept),
            None => {
                let passes = preprocess.passes(upright[0], upright[1])?;
                plan.insert((upright, preprocess.clone(), self.backend.plan_views(&passes)?))
            }
        };
        let steps = orientation.steps(width, height, frame.stride());
        Ok(self.backend.view(frame, steps, &plan.2)?)
    }
}

/// Whether a drawn picture arrives.
///
/// # Errors
/// When the card ends over it.
async fn draws(backend: &GpuBackend) -> Result<bool> {
    const SIZE: [usize; 2] = [64, 2];
    let sent: Vec<u8> =
        (0..SIZE[0] * SIZE[1]).flat_map(|i| [(3 * i % 256) as u8, i as u8, 200, 255]).collect();
    let pixels = backend.upload_pixels(SIZE[0], SIZE[1], &sent)?;
    let came = backend.draw(&[(&pixels, [0, 0])]).ok().and_then(|picture| seen(&picture));
    backend.read_pixels(&pixels).await?;
    let close = |(a, b): (&u8, &u8)| a.abs_diff(*b) <= 1;
    Ok(came.is_some_and(|came| came.len() == sent.len() && came.iter().zip(&sent).all(close)))
}

/// A picture's pixels, as a page would see them.
fn seen(picture: &ImageBitmap) -> Option<Vec<u8>> {
    let canvas = OffscreenCanvas::new(picture.width(), picture.height()).ok()?;
    let context: OffscreenCanvasRenderingContext2d = canvas.get_context("2d").ok()??.dyn_into().ok()?;
    context.draw_image_with_image_bitmap(picture, 0.0, 0.0).ok()?;
    let (width, height) = (f64::from(picture.width()), f64::from(picture.height()));
    Some(context.get_image_data(0.0, 0.0, width, height).ok()?.data().0)
}
