//! Between a browser and its card, without the processor. In: decoded frames. Out: pictures.

use std::cell::RefCell;

use js_sys::{Object, Reflect};
use wasm_bindgen::prelude::*;
use web_sys::{ImageBitmap, OffscreenCanvas};

use super::GpuBackend;
use super::device::{Gpu, failed};
use super::memory::HEADER_BYTES;
use super::pixels::Pixels;
use crate::Result;

const FORMAT: wgpu::TextureFormat = wgpu::TextureFormat::Rgba8Unorm;

#[wasm_bindgen]
extern "C" {
    /// The browser's queue. wgpu's own call ends the whole module where this one throws.
    type Queue;

    #[wasm_bindgen(method, catch, js_name = copyExternalImageToTexture)]
    fn copy_external_image_to_texture(
        this: &Queue,
        source: &Object,
        destination: &Object,
        size: &Object,
    ) -> std::result::Result<(), JsValue>;
}

/// What pictures are drawn on, and frames are copied to.
#[derive(Default)]
pub(super) struct Screen {
    canvas: RefCell<Option<(OffscreenCanvas, wgpu::Surface<'static>)>>,
    frame: RefCell<Option<wgpu::Texture>>,
}

fn object<const N: usize>(entries: [(&str, JsValue); N]) -> Object {
    let object = Object::new();
    for (name, value) in entries {
        // Nothing forbids a fresh object a property.
        let _ = Reflect::set(&object, &name.into(), &value);
    }
    object
}

fn reason(error: &JsValue) -> String {
    let message = Reflect::get(error, &"message".into()).ok().and_then(|message| message.as_string());
    message.unwrap_or_else(|| format!("{error:?}"))
}

fn extent([width, height]: [usize; 2]) -> wgpu::Extent3d {
    wgpu::Extent3d { width: width as u32, height: height as u32, depth_or_array_layers: 1 }
}

/// How a picture lies in its buffer.
fn layout(pixels: &Pixels) -> wgpu::TexelCopyBufferInfo<'_> {
    wgpu::TexelCopyBufferInfo {
        buffer: &pixels.loan.buffer,
        layout: wgpu::TexelCopyBufferLayout {
            offset: HEADER_BYTES,
            bytes_per_row: Some(4 * pixels.stride as u32),
            rows_per_image: None,
        },
    }
}

impl GpuBackend {
    /// A picture that the browser holds to the card, in sRGB.
    ///
    /// # Errors
    /// [`Error::Backend`](crate::Error::Backend) when the browser cannot copy it: its pixels may still be had another
    /// way.
    pub fn copy_picture(&self, picture: &ImageBitmap, width: usize, height: usize) -> Result<Pixels> {
        let gpu = &self.gpu;
        gpu.check()?;
        let pixels = self.pixels(width, height)?;
        let texture = gpu.frame_texture([width, height]);
        // What is recorded may still need the frame that stood here.
        gpu.submit(|_| ());
        let (Some(queue), Some(inner)) = (gpu.queue.as_webgpu(), texture.as_webgpu()) else {
            return Err(failed("pictures are copied in browsers alone"));
        };
        let queue: &Queue = queue.unchecked_ref();
        let destination = object([
            ("texture", inner.into()),
            ("colorSpace", "srgb".into()),
            ("premultipliedAlpha", false.into()),
        ]);
        let size = object([("width", (width as u32).into()), ("height", (height as u32).into())]);
        queue
            .copy_external_image_to_texture(&object([("source", picture.into())]), &destination, &size)
            .map_err(|error| failed(format!("the browser copies no picture ({})", reason(&error))))?;
        gpu.submit(|encoder| {
            encoder.copy_texture_to_buffer(texture.as_image_copy(), layout(&pixels), extent([width, height]));
        });
        Ok(pixels)
    }

    /// Lets go of what frames are copied to: those of a video may be large.
    pub fn forget_frames(&self) {
        self.gpu.screen.frame.borrow_mut().take();
    }

    /// Pictures, each with its upper left corner, as one that the browser can show.
    ///
    /// # Errors
    /// [`Error::Backend`](crate::Error::Backend) when there is nothing to draw, or the browser has no such canvas.
    pub fn draw(&self, pictures: &[(&Pixels, [usize; 2])]) -> Result<ImageBitmap> {
        let gpu = &self.gpu;
        gpu.check()?;
        let [width, height] = size(pictures);
        if !gpu.takes_pixels(width, height) || width * height == 0 {
            return Err(failed(format!("a picture of {width} x {height} pixels cannot be drawn")));
        }
        let mut canvas = gpu.screen.canvas.borrow_mut();
        let (canvas, surface) = match &mut *canvas {
            Some(made) => made,
            none => none.insert(gpu.canvas()?),
        };
        surface.configure(
            &gpu.device,
            &wgpu::SurfaceConfiguration {
                usage: wgpu::TextureUsages::COPY_DST | wgpu::TextureUsages::RENDER_ATTACHMENT,
                format: FORMAT,
                color_space: wgpu::SurfaceColorSpace::Auto,
                width: width as u32,
                height: height as u32,
                present_mode: wgpu::PresentMode::Fifo,
                desired_maximum_frame_latency: 2,
                // Where a map holds no number its picture is transparent.
                alpha_mode: wgpu::CompositeAlphaMode::PreMultiplied,
                view_formats: Vec::new(),
            },
        );
        let (wgpu::CurrentSurfaceTexture::Success(target) | wgpu::CurrentSurfaceTexture::Suboptimal(target)) =
            surface.get_current_texture()
        else {
            return Err(failed("the browser gives no canvas to draw on"));
        };
        gpu.submit(|encoder| {
            for (picture, [x, y]) in pictures {
                let mut place = target.texture.as_image_copy();
                place.origin = wgpu::Origin3d { x: *x as u32, y: *y as u32, z: 0 };
                encoder.copy_buffer_to_texture(layout(picture), place, extent(picture.size()));
            }
        });
        gpu.queue.present(target);
        canvas
            .transfer_to_image_bitmap()
            .map_err(|error| failed(format!("a picture is lost ({})", reason(&error))))
    }
}

/// Size of what holds all pictures.
fn size(pictures: &[(&Pixels, [usize; 2])]) -> [usize; 2] {
    std::array::from_fn(|axis| {
        pictures.iter().map(|(picture, corner)| corner[axis] + picture.size()[axis]).max().unwrap_or(0)
    })
}

impl Gpu {
    fn canvas(&self) -> Result<(OffscreenCanvas, wgpu::Surface<'static>)> {
        let canvas = OffscreenCanvas::new(1, 1).map_err(|error| {
            failed(format!("the browser has no canvas for the card ({})", reason(&error)))
        })?;
        let surface = self.instance.create_surface(wgpu::SurfaceTarget::OffscreenCanvas(canvas.clone()));
        let surface =
            surface.map_err(|error| failed(format!("the browser has no canvas for the card ({error})")))?;
        Ok((canvas, surface))
    }

    /// Where frames of a size arrive; the same one for all of a video.
    fn frame_texture(&self, [width, height]: [usize; 2]) -> wgpu::Texture {
        let size = extent([width, height]);
        let mut kept = self.screen.frame.borrow_mut();
        if let Some(texture) = kept.as_ref().filter(|texture| texture.size() == size) {
            return texture.clone();
        }
        let texture = self.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("frame"),
            size,
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: FORMAT,
            usage: wgpu::TextureUsages::COPY_DST
                | wgpu::TextureUsages::COPY_SRC
                | wgpu::TextureUsages::RENDER_ATTACHMENT,
            view_formats: &[],
        });
        *kept = Some(texture.clone());
        texture
    }
}
