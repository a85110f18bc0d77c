//! Words on a picture. In: a line of text. Out: its pixels, smooth.
//!
//! The font is Ubuntu Light (Ubuntu Font Licence 1.0), as shipped in the crate `epaint_default_fonts`.

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};

use crate::Picture;

/// Thin strokes look pale when their partly covered pixels are mixed as they are; this thickens them a little.
const COVERAGE_GAMMA: f32 = 0.8;

/// Where a line of text stands to its given place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// It starts there.
    Left,
    /// Its middle is there.
    Centre,
    /// It ends there.
    Right,
}

/// How text looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Size of the font (its em) in pixels.
    pub(crate) size: f32,
    /// Colour of the strokes.
    pub(crate) colour: [u8; 3],
    /// Where the text stands.
    pub(crate) align: Align,
}

/// A font that writes lines of text.
pub(crate) struct Typesetter {
    font: FontRef<'static>,
}

impl Typesetter {
    pub(crate) fn new() -> Self {
        let font = FontRef::try_from_slice(epaint_default_fonts::UBUNTU_LIGHT);
        Self { font: font.expect("the bundled font is a font") }
    }

    /// Width of a line in pixels.
    pub(crate) fn width(&self, text: &str, size: f32) -> f32 {
        self.glyphs(text, size).1
    }

    /// Writes one line, `y` its baseline.
    pub(crate) fn write(&self, picture: &mut Picture, text: &str, x: f32, y: f32, style: Style) {
        let (glyphs, width) = self.glyphs(text, style.size);
        let start = x - match style.align {
            Align::Left => 0.0,
            Align::Centre => width / 2.0,
            Align::Right => width,
        };
        for (glyph, advance) in glyphs {
            let glyph =
                glyph.with_scale_and_position(self.scale(style.size), point(start + advance, y.round()));
            let Some(outline) = self.font.outline_glyph(glyph) else { continue };
            let bounds = outline.px_bounds();
            let (left, top) = (bounds.min.x as isize, bounds.min.y as isize);
            outline.draw(|dx, dy, covered| {
                let alpha = covered.clamp(0.0, 1.0).powf(COVERAGE_GAMMA);
                picture.blend(left + dx as isize, top + dy as isize, style.colour, alpha);
            });
        }
    }

    /// The text, cut and ended with "…" when it is wider than `width`.
    pub(crate) fn fit(&self, text: &str, size: f32, width: f32) -> String {
        if self.width(text, size) <= width {
            return text.to_owned();
        }
        let mut kept: Vec<char> = text.chars().collect();
        while kept.pop().is_some() {
            let cut: String = kept.iter().collect::<String>().trim_end().to_owned() + "…";
            if self.width(&cut, size) <= width {
                return cut;
            }
        }
        String::new()
    }

    /// ab_glyph measures a font from its lowest to its highest point, people by its em.
    fn scale(&self, size: f32) -> PxScale {
        let em = self.font.units_per_em().unwrap_or(1000.0);
        PxScale::from(size * self.font.height_unscaled() / em)
    }

    /// Glyphs with their distances from the start of the line, and the line's width.
    fn glyphs(&self, text: &str, size: f32) -> (Vec<(ab_glyph::GlyphId, f32)>, f32) {
        let font = self.font.as_scaled(self.scale(size));
        let mut at = 0.0;
        let mut last = None;
        let mut glyphs = Vec::new();
        for character in text.chars().filter(|c| !c.is_control()) {
            let glyph = font.glyph_id(character);
            at += last.map_or(0.0, |last| font.kern(last, glyph));
            glyphs.push((glyph, at));
            at += font.h_advance(glyph);
            last = Some(glyph);
        }
        (glyphs, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_of_a_figure_is_in_the_font() {
        let font = Typesetter::new().font;
        for character in "0123456789 ABCXYZabcxyz.,:()[]-–—×·…=%&+/_'’".chars() {
            assert_ne!(font.glyph_id(character).0, 0, "{character:?}");
        }
    }

    #[test]
    fn long_text_is_cut() {
        let type_ = Typesetter::new();
        assert_eq!(type_.fit("short", 20.0, 500.0), "short");
        let cut = type_.fit("a very long name of a video file.mp4", 20.0, 100.0);
        assert!(cut.ends_with('…') && type_.width(&cut, 20.0) <= 100.0, "{cut}");
        assert_eq!(type_.fit("wide", 20.0, 1.0), "");
    }

    #[test]
    fn text_leaves_ink_where_it_stands() {
        let type_ = Typesetter::new();
        for (align, inked) in [(Align::Left, 50..100), (Align::Right, 0..50), (Align::Centre, 25..75)] {
            let mut picture = Picture::new(100, 30, [255; 3]).unwrap();
            let style = Style { size: 16.0, colour: [0; 3], align };
            type_.write(&mut picture, "mmm", 50.0, 20.0, style);
            let ink: Vec<usize> = (0..3000).filter(|i| picture.rgba[i * 4] < 128).map(|i| i % 100).collect();
            assert!(!ink.is_empty() && ink.iter().all(|x| inked.contains(x)), "{align:?}");
        }
    }
}
