//! From a place in a map back to the picture. In: sizes of a frame and of the model's input.
//! Out: [`Geometry`], which maps coordinates between source frame, network input and grid.
//!
//! Coordinates are (x, y), continuous, from the upper left corner of the upper left pixel or cell, so the
//! centre of cell (0, 0) is (0.5, 0.5). A grid is drawn as an even tiling of the input. The receptive field
//! of a cell is centred up to half a cell left of and above the middle of its tile (strided convolutions
//! start at the edge); displacements, which are differences, do not feel it.

/// A rectangle in pixels, not always whole ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// From left to right.
    pub width: f32,
    /// From top to bottom.
    pub height: f32,
}

/// How the pixels of a source frame lie under the network's input; made by `Preprocess::geometry`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    /// Source pixels for each input pixel, across and down; the two differ when the aspect ratio does.
    pixel: [f32; 2],
    /// The crop's upper left corner in pixels of the resized picture.
    offset: [f32; 2],
    /// Side of the square input in pixels.
    input_size: f32,
}

impl Geometry {
    /// `source`, `resized`, `offset`: (across, down) in pixels.
    pub(crate) fn new(
        source: [usize; 2],
        resized: [usize; 2],
        offset: [usize; 2],
        input_size: usize,
    ) -> Self {
        Self {
            pixel: std::array::from_fn(|i| source[i] as f32 / resized[i].max(1) as f32),
            offset: offset.map(|o| o as f32),
            input_size: input_size as f32,
        }
    }

    /// Of an input of `input_size` x `input_size` pixels that shows this part of the source frame: the inverse of
    /// [`Self::crop`].
    pub fn of_crop(crop: Rect, input_size: usize) -> Self {
        let side = input_size.max(1) as f32;
        let pixel = [crop.width / side, crop.height / side];
        Self { pixel, offset: [crop.x / pixel[0], crop.y / pixel[1]], input_size: input_size as f32 }
    }

    /// Width and height of an input pixel in source pixels.
    pub fn pixel(&self) -> [f32; 2] {
        self.pixel
    }

    /// Width and height of a cell of a `grid_w` x `grid_h` map in source pixels.
    pub fn cell(&self, grid_w: usize, grid_h: usize) -> [f32; 2] {
        let [w, h] = self.input_cell(grid_w, grid_h);
        [w * self.pixel[0], h * self.pixel[1]]
    }

    /// Width and height of a cell in input pixels: 8 for a 28 x 28 map of a 224 x 224 input.
    pub fn input_cell(&self, grid_w: usize, grid_h: usize) -> [f32; 2] {
        [self.input_size / grid_w.max(1) as f32, self.input_size / grid_h.max(1) as f32]
    }

    /// The part of the source frame that the network sees, in source pixels.
    pub fn crop(&self) -> Rect {
        let [x, y] = self.source_from_input([0.0, 0.0]);
        Rect { x, y, width: self.input_size * self.pixel[0], height: self.input_size * self.pixel[1] }
    }

    /// The place in the source frame of a place in the input.
    pub fn source_from_input(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        [(x + self.offset[0]) * self.pixel[0], (y + self.offset[1]) * self.pixel[1]]
    }

    /// The place in the input of a place in the source frame; outside 0 ..= input size where the crop cut it off.
    pub fn input_from_source(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        [x / self.pixel[0] - self.offset[0], y / self.pixel[1] - self.offset[1]]
    }

    /// The place in the input of a place in a `[grid_w, grid_h]` map.
    pub fn input_from_grid(&self, [x, y]: [f32; 2], [grid_w, grid_h]: [usize; 2]) -> [f32; 2] {
        let [w, h] = self.input_cell(grid_w, grid_h);
        [x * w, y * h]
    }

    /// The place in a `[grid_w, grid_h]` map of a place in the input.
    pub fn grid_from_input(&self, [x, y]: [f32; 2], [grid_w, grid_h]: [usize; 2]) -> [f32; 2] {
        let [w, h] = self.input_cell(grid_w, grid_h);
        [x / w, y / h]
    }

    /// The place in the source frame of a place in a `[grid_w, grid_h]` map.
    pub fn source_from_grid(&self, place: [f32; 2], grid: [usize; 2]) -> [f32; 2] {
        self.source_from_input(self.input_from_grid(place, grid))
    }

    /// The place in a `[grid_w, grid_h]` map of a place in the source frame.
    pub fn grid_from_source(&self, place: [f32; 2], grid: [usize; 2]) -> [f32; 2] {
        self.grid_from_input(self.input_from_source(place), grid)
    }
}
