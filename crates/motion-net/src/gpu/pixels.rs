//! Pixels on the card. In: decoded frames; maps. Out: the network's input; pictures of maps.
//!
//! The kernels' twins are `motion-clip` (resize, crop, normalise) and `motion-view` (colours), whose numbers and colours
//! come in as tables.

use std::sync::Arc;

use motion_clip::resize::Filter;

use super::device::{Bound, Gpu, failed};
use super::kernels::{
    CONFIDENCE_RGBA, DISPLACEMENT_RGBA, Kernel, NORMALISE, NormaliseParams, PictureParams, RESIZE,
    ResizeParams,
};
use super::memory::{HEADER_BYTES, Loan, QUAD_BYTES};
use super::profile::Work;
use super::{GpuBackend, GpuTensor, activation, misshapen};
use crate::{Error, Result};

/// Pixels from one line to the next are a multiple of this: what a copy between buffers and textures asks for.
const STRIDE: usize = 64;
/// Bytes of a pixel: red, green, blue, alpha.
const PIXEL_BYTES: usize = 4;

/// Pixels on the card.
#[derive(Debug, Clone)]
pub struct Pixels {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) stride: usize,
    pub(super) loan: Arc<Loan>,
}

/// Where an upright picture's pixels lie in a decoded one: (x, y) at `start + x across + y down`, counted in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// The upper left pixel.
    pub start: i32,
    /// From a pixel to the one on its right.
    pub across: i32,
    /// To the one below.
    pub down: i32,
}

/// How frames of one size become what the network sees.
pub struct ViewPlan {
    across: Table,
    down: Table,
    /// Lines of the frame that are read: the first, and how many.
    lines: [usize; 2],
}

/// One pass's filter on the card.
struct Table {
    length: usize,
    weights: usize,
    taps: Loan,
    numbers: Loan,
}

impl Pixels {
    /// (width, height).
    pub fn size(&self) -> [usize; 2] {
        [self.width, self.height]
    }

    /// Pixels from one line to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    fn bound(&self) -> Bound<'_> {
        Bound::Values(&self.loan.buffer)
    }

    fn bytes(&self) -> u64 {
        (self.stride * self.height * PIXEL_BYTES) as u64
    }
}

impl GpuBackend {
    /// Whether the card has room for a picture of this size, and shows it.
    pub fn takes_pixels(&self, width: usize, height: usize) -> bool {
        self.gpu.takes_pixels(width, height)
    }

    /// Pixels to the card.
    ///
    /// # Shapes
    /// - `rgba`: `[height, width, 4]`
    ///
    /// # Errors
    /// [`Error::Shape`] when size and bytes differ, [`Error::Backend`] when the card has no room.
    pub fn upload_pixels(&self, width: usize, height: usize, rgba: &[u8]) -> Result<Pixels> {
        let expected = width.saturating_mul(height).saturating_mul(PIXEL_BYTES);
        if rgba.len() != expected || rgba.is_empty() {
            let (operation, found) = ("pixels", vec![rgba.len()]);
            return Err(Error::Shape { operation, found, expected: format!("[{width} * {height} * 4]") });
        }
        let stride = width.next_multiple_of(STRIDE);
        let loan = if stride == width {
            self.gpu.table(rgba)?
        } else {
            let mut lines = vec![0; stride * height * PIXEL_BYTES];
            let wide = lines.chunks_exact_mut(stride * PIXEL_BYTES);
            for (wide, line) in wide.zip(rgba.chunks_exact(width * PIXEL_BYTES)) {
                wide[..line.len()].copy_from_slice(line);
            }
            self.gpu.table(&lines)?
        };
        Ok(Pixels { width, height, stride, loan: Arc::new(loan) })
    }

    /// The pixels as they are on the card, `[height, width, 4]`.
    ///
    /// # Errors
    /// [`Error::Backend`] when anything that they depend on went wrong.
    pub async fn read_pixels(&self, pixels: &Pixels) -> Result<Vec<u8>> {
        let bytes = self.gpu.read(&pixels.loan.buffer, HEADER_BYTES, pixels.bytes()).await?;
        let lines = bytes.chunks_exact(pixels.stride * PIXEL_BYTES);
        Ok(lines.flat_map(|line| &line[..pixels.width * PIXEL_BYTES]).copied().collect())
    }

    /// Room for a picture.
    pub(super) fn pixels(&self, width: usize, height: usize) -> Result<Pixels> {
        let stride = width.next_multiple_of(STRIDE);
        let loan = Arc::new(self.gpu.take((stride * height * PIXEL_BYTES) as u64)?);
        Ok(Pixels { width, height, stride, loan })
    }

    /// Brings a pair of passes (`motion_clip::Preprocess::passes`) to the card.
    ///
    /// # Errors
    /// [`Error::Backend`] when the card has no room.
    pub fn plan_views(&self, [across, down]: &[Filter; 2]) -> Result<ViewPlan> {
        let lines = down.reads();
        Ok(ViewPlan {
            across: self.filter(across, 0)?,
            down: self.filter(down, lines.start)?,
            lines: [lines.start, lines.len()],
        })
    }

    /// A filter that counts from source position `origin`.
    fn filter(&self, filter: &Filter, origin: usize) -> Result<Table> {
        let tap = |(first, range): &(usize, std::ops::Range<usize>)| {
            [(first - origin) as u32, range.start as u32, range.len() as u32, 0]
        };
        let taps: Vec<[u32; 4]> = filter.taps.iter().map(tap).collect();
        Ok(Table {
            length: taps.len(),
            weights: filter.weights.len(),
            taps: self.gpu.table(bytemuck::cast_slice(&taps))?,
            numbers: self.gpu.table(bytemuck::cast_slice(&filter.weights))?,
        })
    }

    /// What the network sees of a frame: turned upright, resized, cropped. Twin: `motion_clip::Preprocess::view`.
    ///
    /// # Errors
    /// [`Error::Backend`] when the card has no room, or something went wrong before.
    pub fn view(&self, frame: &Pixels, steps: Steps, plan: &ViewPlan) -> Result<Pixels> {
        let [first, lines] = plan.lines;
        let narrow = self.pixels(plan.across.length, lines)?;
        self.resize(
            &plan.across,
            frame,
            &narrow,
            false,
            ResizeParams {
                length: plan.across.length as u32,
                lines: lines as u32,
                source_start: steps.start + first as i32 * steps.down,
                source_along: steps.across,
                source_beside: steps.down,
                result_along: 1,
                result_beside: narrow.stride as u32,
            },
        )?;
        let view = self.pixels(plan.across.length, plan.down.length)?;
        self.resize(
            &plan.down,
            &narrow,
            &view,
            true,
            ResizeParams {
                length: plan.down.length as u32,
                lines: plan.across.length as u32,
                source_start: 0,
                source_along: narrow.stride as i32,
                source_beside: 1,
                result_along: view.stride as u32,
                result_beside: 1,
            },
        )?;
        Ok(view)
    }

    fn resize(
        &self,
        table: &Table,
        source: &Pixels,
        result: &Pixels,
        rows: bool,
        params: ResizeParams,
    ) -> Result<()> {
        let buffers = [
            source.bound(),
            Bound::Values(&table.taps.buffer),
            Bound::Values(&table.numbers.buffer),
            result.bound(),
        ];
        let work = Work {
            kernel: RESIZE.name,
            detail: format!("{:?} to {:?}", source.size(), result.size()),
            operations: 6 * table.weights as u64 * u64::from(params.lines),
            bytes: source.bytes() + result.bytes(),
        };
        let count = (params.length * params.lines) as usize;
        self.each(&RESIZE, vec![("ROWS", rows.into())], bytemuck::bytes_of(&params), &buffers, count, work)
    }

    /// The network's input `[T, S, S, 3]` of T views. `levels`: `motion_clip::Preprocess::levels`.
    ///
    /// # Errors
    /// [`Error::Backend`] when there is no view, they differ in size, or the card fails.
    pub fn normalise(&self, views: &[Pixels], levels: &[[f32; 256]; 3]) -> Result<GpuTensor> {
        let Some(first) = views.first() else { return Err(failed("a clip without frames")) };
        let [width, height] = first.size();
        let y = self.empty([views.len(), height, width, 3])?;
        let table = self.gpu.table(bytemuck::cast_slice(levels.as_flattened()))?;
        for (t, view) in views.iter().enumerate() {
            if view.size() != first.size() {
                return Err(failed(format!("a clip of {:?} and {:?} pixels", first.size(), view.size())));
            }
            let length = width * height;
            let params = NormaliseParams {
                width: width as u32,
                stride: view.stride as u32,
                first: (t * length) as u32,
                length: length as u32,
            };
            let buffers = [view.bound(), Bound::Values(&table.buffer), y.values()];
            self.each_pixel(&NORMALISE, bytemuck::bytes_of(&params), &buffers, length)?;
        }
        Ok(y)
    }

    /// Displacement maps `[N, H, W, 2]` in colour, side by side: N W x H pixels. `scale`: the length drawn in full
    /// colour, in the maps' unit; `rim`: the wheel's colours (`motion_view::wheel::COLOURS`).
    /// Twin: `motion_view::wheel::displacement_rgba`.
    ///
    /// # Errors
    /// [`Error::Shape`] for other maps, [`Error::Backend`] when the card fails.
    pub fn displacement_rgba(&self, maps: &GpuTensor, scale: f32, rim: &[[u8; 3]]) -> Result<Pixels> {
        self.picture(&DISPLACEMENT_RGBA, maps, 2, scale, rim, &[])
    }

    /// Confidence maps `[N, H, W, 1]` in colour, side by side, each between its own two values of `ranges`. `colours`:
    /// evenly spaced from the lowest to the highest value. Twin: `motion_view::heat::confidence_rgba`.
    ///
    /// # Errors
    /// [`Error::Shape`] for other maps, [`Error::Backend`] when the card fails.
    pub fn confidence_rgba(
        &self,
        maps: &GpuTensor,
        ranges: &[[f32; 2]],
        colours: &[[u8; 3]],
    ) -> Result<Pixels> {
        self.picture(&CONFIDENCE_RGBA, maps, 1, 0.0, colours, ranges)
    }

    fn picture(
        &self,
        kernel: &'static Kernel,
        maps: &GpuTensor,
        channels: usize,
        scale: f32,
        colours: &[[u8; 3]],
        ranges: &[[f32; 2]],
    ) -> Result<Pixels> {
        let [n, h, w, c] = activation(kernel.name, maps)?;
        if c != channels || colours.is_empty() || !(ranges.is_empty() || ranges.len() == n) {
            let expected = format!("[N, H, W, {channels}] with N ranges and at least one colour");
            return Err(misshapen(kernel.name, maps, expected));
        }
        let picture = self.pixels(n * w, h)?;
        let packed: Vec<[u8; 4]> = colours.iter().map(|&[r, g, b]| [r, g, b, 255]).collect();
        let packed = self.gpu.table(packed.as_flattened())?;
        let ranges = match ranges {
            [] => None,
            ranges => Some(self.gpu.table(bytemuck::cast_slice(ranges))?),
        };
        let params = PictureParams {
            width: w as u32,
            height: h as u32,
            maps: n as u32,
            stride: picture.stride as u32,
            shades: colours.len() as u32,
            scale,
        };
        // A buffer must be bound in any case; it is not read.
        let ranges = ranges.as_ref().unwrap_or(&packed);
        let buffers =
            [maps.values(), Bound::Values(&packed.buffer), Bound::Values(&ranges.buffer), picture.bound()];
        self.each_pixel(kernel, bytemuck::bytes_of(&params), &buffers, n * h * w)?;
        Ok(picture)
    }

    /// Records a kernel that makes one pixel, or one quad of a pixel, in each invocation.
    fn each_pixel(
        &self,
        kernel: &'static Kernel,
        params: &[u8],
        buffers: &[Bound<'_>],
        count: usize,
    ) -> Result<()> {
        let work = Work {
            kernel: kernel.name,
            detail: format!("{count} pixels"),
            operations: 10 * count as u64,
            bytes: count as u64 * (QUAD_BYTES + PIXEL_BYTES as u64),
        };
        self.each(kernel, Vec::new(), params, buffers, count, work)
    }
}

impl Gpu {
    pub(super) fn takes_pixels(&self, width: usize, height: usize) -> bool {
        let side = self.limits.max_texture_dimension_2d as usize;
        let bytes = (width.next_multiple_of(STRIDE) * height * PIXEL_BYTES) as u64;
        width.max(height) <= side && bytes < self.largest_activation()
    }

    /// Numbers that a kernel reads, as an activation of their own.
    fn table(&self, bytes: &[u8]) -> Result<Loan> {
        let loan = self.take((bytes.len() as u64).max(QUAD_BYTES))?;
        // What is recorded may still need the numbers that stood here.
        self.submit(|_| ());
        self.queue.write_buffer(&loan.buffer, HEADER_BYTES, bytes);
        Ok(loan)
    }
}
