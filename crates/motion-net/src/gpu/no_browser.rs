//! `browser.rs` where there is no browser: who calls it is compiled, checked and tested natively as well.

use web_sys::ImageBitmap;

use super::GpuBackend;
use super::device::failed;
use super::pixels::Pixels;
use crate::Result;

const ELSEWHERE: &str = "there is no browser here";

#[allow(clippy::unused_self, clippy::missing_errors_doc, reason = "signatures and words of browser.rs")]
impl GpuBackend {
    /// Not here.
    pub fn copy_picture(&self, _picture: &ImageBitmap, _width: usize, _height: usize) -> Result<Pixels> {
        Err(failed(ELSEWHERE))
    }

    /// Nothing to let go of.
    pub fn forget_frames(&self) {}

    /// Not here.
    pub fn draw(&self, _pictures: &[(&Pixels, [usize; 2])]) -> Result<ImageBitmap> {
        Err(failed(ELSEWHERE))
    }
}
