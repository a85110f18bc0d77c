//! Frames and maps side by side, as in the paper's Fig. 6. In: a clip and its maps. Out: one [`Picture`].
//!
//! A column for each frame; a row for the frames, one for the displacement and one for the confidence. The
//! last frame has no next one, so its place in the map rows holds the legend: the wheel with its scale, and
//! the range of the confidence colours.

use motion_clip::{Frame, resize};

use crate::overlay::{Enlarge, enlarge};
use crate::text::{Align, Style, Typesetter};
use crate::{Error, Picture, Result, Scale, heat, wheel};

/// A light grey on which the white of "still" can be seen.
const PAPER: [u8; 3] = [0xf6, 0xf6, 0xf4];
const INK: [u8; 3] = [0x1c, 0x1f, 0x24];
const QUIET: [u8; 3] = [0x63, 0x67, 0x6d];
/// Around each picture.
const EDGE: [u8; 3] = [0xd4, 0xd4, 0xd0];

/// Tiles of this many pixels across have the text sizes below; everything else scales with the tile.
const NORMAL_TILE: f32 = 224.0;
const TITLE: f32 = 27.0;
const BODY: f32 = 18.5;
const SMALL: f32 = 14.5;
/// From one baseline to the next, in font sizes.
const LEADING: f32 = 1.4;
const MARGIN: f32 = 36.0;
const GAP: f32 = 10.0;
/// Space for a line of text under a row of tiles.
const CAPTION: f32 = 30.0;

/// Everything a figure shows.
#[derive(Debug, Clone, Copy)]
pub struct Figure<'a> {
    /// The headline, such as the name of the video.
    pub title: &'a str,
    /// A line under it, such as the recognised action; may be empty.
    pub note: &'a str,
    /// The T frames of a clip, at least two; `Preprocess::view` gives them as the network sees them.
    pub frames: &'a [Frame],
    /// One or more sets of maps, each of which adds two rows.
    pub maps: &'a [Maps<'a>],
    /// Width of a picture in pixels; 224 is a good one, 448 for print.
    pub tile: usize,
    /// How maps are brought to the size of a tile.
    pub enlarge: Enlarge,
}

/// The maps of one stage and estimator.
#[derive(Debug, Clone, Copy)]
pub struct Maps<'a> {
    /// Where in the network, such as `res3`.
    pub stage: &'a str,
    /// How the displacement was estimated, such as `kernel-soft-argmax`.
    pub estimator: &'a str,
    /// (h, w) of a map.
    pub grid: [usize; 2],
    /// `[T-1, h, w, 2]`: (dx, dy), +x right, +y down, in units of the radius.
    pub displacement: &'a [f32],
    /// `[T-1, h, w]`.
    pub confidence: &'a [f32],
    /// The length drawn in full colour, one for the clip; [`crate::clip_scale`] finds it.
    pub scale: Scale,
    /// Width and height of a cell in pixels of the source video.
    pub cell: [f32; 2],
}

/// A figure of a clip.
///
/// # Errors
/// [`Error::TooFewFrames`], [`Error::Length`] when maps do not fit their grid and the number of frames,
/// [`Error::Size`] when the picture would have no or too many pixels, [`Error::Frame`] for a damaged frame.
pub fn figure(figure: &Figure) -> Result<Picture> {
    let Figure { frames, maps, .. } = *figure;
    let [first, _, ..] = frames else { return Err(Error::TooFewFrames { found: frames.len() }) };
    first.check()?;
    for set in maps {
        set.check(frames.len() - 1)?;
    }
    let page = Page::new(figure, first)?;
    let mut picture = Picture::new(page.width, page.height, PAPER)?;
    page.header(&mut picture, figure);

    let mut top = page.first_row;
    page.label(&mut picture, top, &frames_label());
    for (column, frame) in frames.iter().enumerate() {
        let small = resize::resize(frame, page.tile[1], page.tile[0])?;
        page.place(&mut picture, column, top, &Picture::from_frame(&small)?);
        page.caption(&mut picture, column, top, &format!("{:.2} s", frame.time_secs));
    }
    top += page.row + page.caption;

    for set in maps {
        page.label(&mut picture, top, &set.displacement_label());
        page.label(&mut picture, top + page.row, &confidence_label());
        for pair in 0..frames.len() - 1 {
            let displacement = set.displacement_picture(pair, page.tile, figure.enlarge)?;
            page.place(&mut picture, pair, top, &displacement);
            let (confidence, range) = set.confidence_picture(pair, page.tile, figure.enlarge)?;
            page.place(&mut picture, pair, top + page.row, &confidence);
            page.caption(&mut picture, pair, top + page.row, &range);
        }
        page.wheel_legend(&mut picture, frames.len() - 1, top, set)?;
        page.heat_legend(&mut picture, frames.len() - 1, top + page.row);
        top += 2 * page.row + page.caption;
    }
    Ok(picture)
}

/// The wheel with its scale alone, to stand beside a moving picture; `tile` is its width and height in pixels.
///
/// # Errors
/// [`Error::Size`] when the picture would have no or too many pixels.
pub fn legend(set: &Maps, tile: [usize; 2]) -> Result<Picture> {
    let mut picture = Picture::new(tile[0], tile[1], PAPER)?;
    Page::bare(tile).wheel_legend(&mut picture, 0, 0, set)?;
    Ok(picture)
}

/// One line of words as a strip of so many pixels across, to stand under a moving picture.
///
/// # Errors
/// [`Error::Size`] when the picture would have no or too many pixels.
pub fn strip(text: &str, width: usize) -> Result<Picture> {
    let mut picture = Picture::new(width, CAPTION as usize, PAPER)?;
    let page = Page::bare([width, 0]);
    let style = Style { size: BODY, colour: INK, align: Align::Left };
    let text = page.type_.fit(text, BODY, width as f32 - 2.0 * GAP);
    page.type_.write(&mut picture, &text, GAP, 0.7 * CAPTION, style);
    Ok(picture)
}

impl Maps<'_> {
    fn check(&self, pairs: usize) -> Result<()> {
        let cells = self.grid[0].saturating_mul(self.grid[1]).saturating_mul(pairs);
        for (what, found, expected) in [
            ("displacement maps", self.displacement.len(), cells.saturating_mul(2)),
            ("confidence maps", self.confidence.len(), cells),
        ] {
            if found != expected {
                return Err(Error::Length { what, found, expected });
            }
        }
        Ok(())
    }

    fn displacement_picture(&self, pair: usize, tile: [usize; 2], how: Enlarge) -> Result<Picture> {
        let size = self.grid[0] * self.grid[1] * 2;
        let map = &self.displacement[pair * size..(pair + 1) * size];
        let large = enlarge(map, 2, self.grid, [tile[1], tile[0]], how)?;
        Picture::from_rgba(tile[0], tile[1], wheel::displacement_rgba(&large, self.scale.in_map_units()))
    }

    /// The picture and its range in words.
    fn confidence_picture(&self, pair: usize, tile: [usize; 2], how: Enlarge) -> Result<(Picture, String)> {
        let size = self.grid[0] * self.grid[1];
        let map = &self.confidence[pair * size..(pair + 1) * size];
        let range = heat::range(map);
        let [min, max] = range.unwrap_or_default();
        let large = enlarge(map, 1, self.grid, [tile[1], tile[0]], how)?;
        let picture = Picture::from_rgba(tile[0], tile[1], heat::confidence_rgba(&large, min, max))?;
        Ok((picture, range.map_or("no values".to_owned(), |[min, max]| format!("{min:.2} – {max:.2}"))))
    }

    fn displacement_label(&self) -> [String; 4] {
        [
            "Displacement".into(),
            "to the next frame".into(),
            format!("{}, {} × {} cells", self.stage, self.grid[1], self.grid[0]),
            self.estimator.into(),
        ]
    }

    /// The length at the rim of the wheel: in cells, then in pixels of the source.
    fn scale_words(&self) -> [String; 2] {
        let cells = self.scale.cells;
        let [width, height] = self.scale.pixels(self.cell);
        let number =
            |pixels: f32| if pixels < 9.95 { format!("{pixels:.1}") } else { format!("{pixels:.0}") };
        let (across, down) = (number(width), number(height));
        [
            format!("{cells} cell{}", if cells == 1.0 { "" } else { "s" }),
            if across == down {
                format!("{across} source px")
            } else {
                format!("{across} × {down} source px")
            },
        ]
    }
}

fn frames_label() -> [String; 2] {
    ["Frames".into(), "as the network sees them".into()]
}

fn confidence_label() -> [String; 3] {
    ["Confidence".into(), "best correlation,".into(), "range of each map below".into()]
}

/// Where everything stands, in pixels.
struct Page {
    type_: Typesetter,
    /// Pixels for one unit of the constants above.
    unit: f32,
    width: usize,
    height: usize,
    /// (width, height) of a picture.
    tile: [usize; 2],
    margin: usize,
    /// Left edge of the first column.
    first_column: usize,
    /// Upper edge of the first row.
    first_row: usize,
    /// From one column, and one row, to the next.
    column: usize,
    row: usize,
    caption: usize,
}

impl Page {
    fn new(figure: &Figure, first: &Frame) -> Result<Self> {
        let width = figure.tile;
        // In f64 a side of any length fits; Picture::new refuses what is too large.
        let height = (width as f64 * first.height as f64 / first.width as f64).round() as usize;
        Picture::new(width, height.max(1), PAPER)?;
        let tile = [width, height.max(1)];
        let type_ = Typesetter::new();
        let unit = width as f32 / NORMAL_TILE;
        let whole = |units: f32| (units * unit).round() as usize;

        let label = |lines: &[String]| {
            lines
                .iter()
                .enumerate()
                .map(|(i, line)| type_.width(line, label_size(i) * unit))
                .fold(0.0, f32::max)
        };
        let labels = figure.maps.iter().map(|set| label(&set.displacement_label()));
        // A name of any length must not push the pictures off the page.
        let labels = labels.fold(label(&frames_label()).max(label(&confidence_label())), f32::max);
        let label_width = (labels.min(NORMAL_TILE * unit) + 2.0 * GAP * unit).ceil() as usize;

        let (margin, gap, caption) = (whole(MARGIN), whole(GAP), whole(CAPTION));
        let header =
            whole(TITLE * LEADING + if figure.note.is_empty() { 0.0 } else { BODY * LEADING } + 2.0 * GAP);
        let (columns, sets) = (figure.frames.len(), figure.maps.len());
        let (column, row) = (tile[0] + gap, tile[1] + gap);
        let first_column = margin + label_width;
        let first_row = margin + header;
        Ok(Self {
            unit,
            width: first_column.saturating_add(columns.saturating_mul(column)).saturating_add(margin) - gap,
            height: first_row
                .saturating_add((row + caption).saturating_mul(sets + 1))
                .saturating_add(sets.saturating_mul(row))
                .saturating_add(margin)
                - gap,
            tile,
            margin,
            first_column,
            first_row,
            column,
            row,
            caption,
            type_,
        })
    }

    /// A page that is a single tile.
    fn bare(tile: [usize; 2]) -> Self {
        let [width, height] = tile;
        let unit = width as f32 / NORMAL_TILE;
        let (margin, first_column, first_row, column, row, caption) = (0, 0, 0, 0, 0, 0);
        let type_ = Typesetter::new();
        Self { type_, unit, width, height, tile, margin, first_column, first_row, column, row, caption }
    }

    fn style(&self, size: f32, colour: [u8; 3], align: Align) -> Style {
        Style { size: size * self.unit, colour, align }
    }

    fn header(&self, picture: &mut Picture, figure: &Figure) {
        let mut baseline = self.margin as f32;
        for (text, size, colour) in [(figure.title, TITLE, INK), (figure.note, BODY, QUIET)] {
            baseline += size * self.unit * if size == TITLE { 0.8 } else { LEADING };
            let text = self.type_.fit(text, size * self.unit, (self.width - 2 * self.margin) as f32);
            let style = self.style(size, colour, Align::Left);
            self.type_.write(picture, &text, self.margin as f32, baseline, style);
        }
    }

    /// The words left of a row: a name, then quiet lines, together in the middle of the row's height.
    fn label(&self, picture: &mut Picture, top: usize, lines: &[String]) {
        let height: f32 = (0..lines.len()).map(|i| label_size(i) * LEADING * self.unit).sum();
        let mut baseline = top as f32 + (self.tile[1] as f32 - height) / 2.0;
        let room = (self.first_column - self.margin) as f32 - GAP * self.unit;
        for (i, line) in lines.iter().enumerate() {
            let size = label_size(i);
            baseline += size * LEADING * self.unit;
            let style = self.style(size, if i == 0 { INK } else { QUIET }, Align::Left);
            let line = self.type_.fit(line, size * self.unit, room);
            self.type_.write(picture, &line, self.margin as f32, baseline - 0.3 * size * self.unit, style);
        }
    }

    fn left(&self, column: usize) -> usize {
        self.first_column + column * self.column
    }

    /// A picture in its place, with a thin edge so that white ends somewhere.
    fn place(&self, picture: &mut Picture, column: usize, top: usize, tile: &Picture) {
        let (x, y) = (self.left(column) as isize, top as isize);
        picture.fill(x - 1, y - 1, self.tile[0] + 2, self.tile[1] + 2, EDGE);
        // What is transparent (no finite number) shows the paper.
        picture.fill(x, y, self.tile[0], self.tile[1], PAPER);
        picture.draw(tile, x, y, 1.0);
    }

    /// A quiet line under a tile.
    fn caption(&self, picture: &mut Picture, column: usize, top: usize, text: &str) {
        let x = self.left(column) as f32 + self.tile[0] as f32 / 2.0;
        let y = (top + self.tile[1]) as f32 + SMALL * 1.25 * self.unit;
        let text = self.type_.fit(text, SMALL * self.unit, self.tile[0] as f32);
        self.type_.write(picture, &text, x, y, self.style(SMALL, QUIET, Align::Centre));
    }

    /// The wheel with its scale, in the middle of a tile's place.
    fn wheel_legend(&self, picture: &mut Picture, column: usize, top: usize, set: &Maps) -> Result<()> {
        let [cells, pixels] = set.scale_words();
        let lines = [
            (format!("full colour: {cells}"), INK),
            (format!("= {pixels}"), QUIET),
            ("one scale for the clip".to_owned(), QUIET),
        ];
        let text = lines.len() as f32 * SMALL * LEADING * self.unit;
        let [width, height] = self.tile.map(|side| side as f32);
        let space = 0.7 * SMALL * self.unit;
        let size = (0.62 * width).min(height - text - space).max(1.0) as usize;
        let middle = self.left(column) as f32 + width / 2.0;
        let start = top as f32 + (height - size as f32 - space - text) / 2.0;
        let wheel = Picture::from_rgba(size, size, wheel::wheel_picture(size))?;
        picture.draw(&wheel, (middle - size as f32 / 2.0).round() as isize, start.round() as isize, 1.0);
        let mut baseline = start + size as f32 + space;
        for (line, colour) in lines {
            baseline += SMALL * LEADING * self.unit;
            let line = self.type_.fit(&line, SMALL * self.unit, width);
            let style = self.style(SMALL, colour, Align::Centre);
            self.type_.write(picture, &line, middle, baseline - 0.3 * SMALL * self.unit, style);
        }
        Ok(())
    }

    /// The confidence colours from least to most, in the middle of a tile's place.
    fn heat_legend(&self, picture: &mut Picture, column: usize, top: usize) {
        let [width, height] = self.tile;
        let length = (0.72 * width as f32).round().max(1.0) as usize;
        let thickness = (0.06 * width as f32).round().max(1.0) as usize;
        let left = self.left(column) + (width - length) / 2;
        let line = SMALL * LEADING * self.unit;
        let bar = top as f32 + (height as f32 - thickness as f32 - 2.0 * line) / 2.0;
        for i in 0..length {
            let colour = heat::colour((i as f32 + 0.5) / length as f32);
            picture.fill((left + i) as isize, bar as isize, 1, thickness, colour);
        }
        let baseline = bar + thickness as f32 + line;
        let ends = [("least", left, Align::Left), ("most", left + length, Align::Right)];
        for (word, x, align) in ends {
            self.type_.write(picture, word, x as f32, baseline, self.style(SMALL, INK, align));
        }
        let middle = left as f32 + length as f32 / 2.0;
        let style = self.style(SMALL, QUIET, Align::Centre);
        self.type_.write(picture, "of each map", middle, baseline + line, style);
    }
}

/// The first line of a label is its name.
fn label_size(line: usize) -> f32 {
    if line == 0 { BODY } else { SMALL }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(count: usize) -> Vec<Frame> {
        (0..count).map(|t| Frame::new(16, 16, vec![90; 768], t as f64).unwrap()).collect()
    }

    fn maps<'a>(displacement: &'a [f32], confidence: &'a [f32]) -> Maps<'a> {
        Maps {
            stage: "res3",
            estimator: "kernel-soft-argmax",
            grid: [4, 4],
            displacement,
            confidence,
            scale: Scale { cells: 3.5, radius_cells: 7 },
            cell: [48.0, 36.0],
        }
    }

    fn plain<'a>(frames: &'a [Frame], maps: &'a [Maps<'a>], tile: usize) -> Figure<'a> {
        Figure { title: "a clip", note: "", frames, maps, tile, enlarge: Enlarge::Nearest }
    }

    #[test]
    fn maps_stand_under_their_frames() {
        let frames = frames(3);
        // Everything moves right at full scale, then down.
        let mut displacement = [0.5, 0.0].repeat(16);
        displacement.extend([0.0, 0.5].repeat(16));
        let sets = [maps(&displacement, &[0.4; 32])];
        let request = plain(&frames, &sets, 60);
        let picture = figure(&request).unwrap();
        let page = Page::new(&request, &frames[0]).unwrap();
        let at = |column: usize, top: usize| {
            let i = ((top + 30) * picture.width + page.left(column) + 30) * 4;
            [picture.rgba[i], picture.rgba[i + 1], picture.rgba[i + 2]]
        };
        let displacements = page.first_row + page.row + page.caption;
        assert_eq!(at(2, page.first_row), [90; 3]);
        assert_eq!(at(0, displacements), [255, 0, 0]);
        assert_eq!(at(1, displacements)[2], 0, "down is yellow");
        assert_eq!(at(0, displacements + page.row), heat::colour(0.5), "a flat map");
        assert_eq!((picture.width, picture.height), (page.width, page.height));
    }

    #[test]
    fn the_scale_is_stated_in_cells_and_source_pixels() {
        let set = maps(&[], &[]);
        assert_eq!(set.scale_words(), ["3.5 cells", "168 × 126 source px"]);
        let small = Maps { scale: Scale { cells: 1.0, radius_cells: 7 }, cell: [8.0, 8.0], ..set };
        assert_eq!(small.scale_words(), ["1 cell", "8.0 source px"]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let (one, three) = (frames(1), frames(3));
        let (displacement, confidence) = (vec![0.0; 64], vec![0.0; 32]);
        let good = [maps(&displacement, &confidence)];
        assert_eq!(figure(&plain(&one, &good, 50)), Err(Error::TooFewFrames { found: 1 }));
        assert!(figure(&plain(&three, &good, 50)).is_ok());
        assert!(figure(&plain(&three, &good, 0)).is_err());
        assert!(figure(&plain(&three, &good, usize::MAX)).is_err());
        assert!(figure(&plain(&three, &[maps(&displacement[1..], &confidence)], 50)).is_err());
        assert!(figure(&plain(&three, &[maps(&displacement, &confidence[1..])], 50)).is_err());
    }

    #[test]
    fn a_legend_and_a_strip_alone_have_colours_and_ink() {
        let picture = legend(&maps(&[], &[]), [224, 224]).unwrap();
        let at = |x: usize, y: usize| &picture.rgba[(y * 224 + x) * 4..][..3];
        let red = |rgb: &[u8]| rgb[0] > 240 && rgb[1] < 40 && rgb[2] < 40;
        let reds: Vec<usize> =
            (0..224 * 224).filter(|i| red(at(i % 224, i / 224))).map(|i| i % 224).collect();
        assert!(!reds.is_empty() && reds.iter().all(|&x| x > 112), "right is red");
        let strip = strip("res3 · kernel-soft-argmax", 600).unwrap();
        assert!(strip.rgba.chunks(4).any(|p| p[0] < 100));
        assert!(legend(&maps(&[], &[]), [0, 9]).is_err());
    }

    #[test]
    fn small_and_odd_figures_do_not_panic() {
        let three = frames(3);
        let (displacement, confidence) = (vec![f32::NAN; 64], vec![f32::NAN; 32]);
        let sets = [maps(&displacement, &confidence)];
        for tile in [1, 2, 7, 30] {
            assert!(figure(&plain(&three, &sets, tile)).is_ok(), "{tile}");
        }
        let flat: Vec<Frame> = (0..2).map(|_| Frame::new(300, 1, vec![0; 900], f64::NAN).unwrap()).collect();
        assert!(figure(&plain(&flat, &[], 40)).is_ok());
        let long = "一 name of any length ".repeat(50);
        let (displacement, confidence) = (vec![0.0; 32], vec![0.0; 16]);
        let set = Maps { stage: &long, estimator: &long, ..maps(&displacement, &confidence) };
        let two = frames(2);
        assert!(figure(&Figure { title: &long, note: &long, ..plain(&two, &[set], 40) }).is_ok());
    }
}
