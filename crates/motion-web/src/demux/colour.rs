//! Which colour matrix a stream names. In: an H.264 or VP9 header. Out: [`Colour`].
//!
//! Where none is named, decoders guess, and not all alike. `motionlens` and this module both take pictures at least
//! 720 pixels high for BT.709 and lower ones for BT.601, as players do, so that both see the same colours.

/// What a stream says about its colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour {
    /// Its matrix by number (ITU-T H.273, table 4), if it names one.
    pub matrix: Option<u8>,
    /// Whether luma runs over all 256 levels.
    pub full_range: bool,
}

impl Colour {
    /// WebCodecs' name of the matrix, or of what a picture without one is taken for; `None` for the rarer ones, which
    /// the decoder knows best.
    pub fn standard(self, height: usize) -> Option<&'static str> {
        match self.matrix {
            Some(1) => Some("bt709"),
            Some(5 | 6) => Some("smpte170m"),
            Some(_) => None,
            None if height < HD_HEIGHT => Some("smpte170m"),
            None => Some("bt709"),
        }
    }

    /// What the container says joins where the stream is silent.
    pub(super) fn or_matrix(self, container: Option<u8>) -> Self {
        Self { matrix: self.matrix.or(container), ..self }
    }
}

/// From this height on, a video that does not name its matrix is taken for BT.709, else for BT.601.
const HD_HEIGHT: usize = 720;
/// The matrix that stands for "unspecified" (ITU-T H.273, table 4).
const UNSPECIFIED: u64 = 2;

/// A matrix by number, if it is one.
pub(super) fn matrix(code: u64) -> Option<u8> {
    u8::try_from(code).ok().filter(|_| code != UNSPECIFIED)
}

/// An aspect ratio that is written out (H.264, table E-1).
const EXTENDED_SAR: u64 = 255;
/// Profiles whose header tells the chroma format (H.264, 7.3.2.1.1).
const HIGH_PROFILES: [u64; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// Bits from the first to the last; 0 after the end.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> u64 {
        (0..count).fold(0, |value, _| {
            let bit = self.bytes.get(self.at / 8).map_or(0, |byte| byte >> (7 - self.at % 8) & 1);
            self.at += 1;
            value << 1 | u64::from(bit)
        })
    }

    fn flag(&mut self) -> bool {
        self.take(1) == 1
    }

    fn ended(&self) -> bool {
        self.at > self.bytes.len() * 8
    }

    /// Exp-Golomb (H.264, 9.1).
    fn golomb(&mut self) -> u64 {
        let mut zeros = 0;
        while !self.flag() {
            zeros += 1;
            if zeros > 32 || self.ended() {
                return 0;
            }
        }
        (1 << zeros) - 1 + self.take(zeros)
    }

    fn signed_golomb(&mut self) -> i64 {
        let value = self.golomb();
        let half = (value.div_ceil(2)).cast_signed();
        if value % 2 == 1 { half } else { -half }
    }
}

/// Of an avcC record (ISO/IEC 14496-15, 5.3.3.1): the first sequence parameter set says it.
pub(super) fn of_avc(record: &[u8]) -> Option<Colour> {
    let (length, rest) = record.get(6..)?.split_first_chunk()?;
    of_parameter_set(rest.get(..usize::from(u16::from_be_bytes(*length)))?)
}

/// Of a sequence parameter set (H.264, 7.3.2.1.1 and E.1.1); `None` when it ends too early.
fn of_parameter_set(set: &[u8]) -> Option<Colour> {
    // A 3 after two zeros only keeps the bytes from looking like a start code.
    let mut plain: Vec<u8> = Vec::with_capacity(set.len());
    let mut zeros = 0;
    for &byte in set {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        plain.push(byte);
    }
    let mut bits = Bits { bytes: &plain, at: 8 };
    let profile = bits.take(8);
    bits.take(16); // constraints, level
    bits.golomb(); // its number
    if HIGH_PROFILES.contains(&profile) {
        let chroma = bits.golomb();
        if chroma == 3 {
            bits.flag(); // separate planes
        }
        bits.golomb(); // depth of luma
        bits.golomb(); // and chroma
        bits.flag(); // lossless
        if bits.flag() {
            for list in 0..if chroma == 3 { 12 } else { 8 } {
                if bits.flag() {
                    skip_scaling_list(&mut bits, if list < 6 { 16 } else { 64 });
                }
            }
        }
    }
    bits.golomb(); // digits of frame numbers
    match bits.golomb() {
        0 => {
            bits.golomb();
        }
        1 => {
            bits.flag();
            bits.signed_golomb();
            bits.signed_golomb();
            for _ in 0..bits.golomb().min(255) {
                bits.signed_golomb();
            }
        }
        _ => {}
    }
    bits.golomb(); // reference frames
    bits.flag(); // gaps
    bits.golomb(); // width
    bits.golomb(); // height
    if !bits.flag() {
        bits.flag(); // fields
    }
    bits.flag(); // direct inference
    if bits.flag() {
        (0..4).for_each(|_| _ = bits.golomb()); // cropping
    }
    if bits.ended() {
        return None;
    }
    let unnamed = |full_range| Some(Colour { matrix: None, full_range });
    if !bits.flag() {
        return unnamed(false);
    }
    if bits.flag() && bits.take(8) == EXTENDED_SAR {
        bits.take(32);
    }
    if bits.flag() {
        bits.flag(); // overscan
    }
    if !bits.flag() {
        return unnamed(false);
    }
    bits.take(3); // kind of video
    let full_range = bits.flag();
    if !bits.flag() {
        return unnamed(full_range);
    }
    bits.take(16); // primaries, transfer
    let matrix = matrix(bits.take(8));
    (!bits.ended()).then_some(Colour { matrix, full_range })
}

/// H.264, 7.3.2.1.1.1.
fn skip_scaling_list(bits: &mut Bits<'_>, size: usize) {
    let mut next = 8_i64;
    for _ in 0..size {
        next = (next + bits.signed_golomb()).rem_euclid(256);
        if next == 0 {
            return;
        }
    }
}

/// What a VP9 keyframe says (VP9 specification, 6.2 and 6.2.2): profile, bits of a sample, colours.
pub(super) fn of_vp9(frame: &[u8]) -> Option<(u64, u64, Colour)> {
    let mut bits = Bits { bytes: frame, at: 0 };
    let marker = bits.take(2);
    let profile = bits.take(1) | bits.take(1) << 1;
    if profile == 3 {
        bits.flag();
    }
    let (repeats, inter) = (bits.flag(), bits.flag());
    bits.take(2); // shown, resilient
    if marker != 2 || repeats || inter || bits.take(24) != 0x49_83_42 {
        return None;
    }
    let depth = match profile >= 2 {
        false => 8,
        true if bits.flag() => 12,
        true => 10,
    };
    // BT.601, BT.709, SMPTE 170M, SMPTE 240M, BT.2020, sRGB, by their numbers in H.273.
    let matrix = [None, Some(6), Some(1), Some(6), Some(7), Some(9), None, Some(0)][bits.take(3) as usize];
    let colour = Colour { matrix, full_range: bits.flag() };
    (!bits.ended()).then_some((profile, depth, colour))
}

/// Whether a VP9 frame is there only for later ones to refer to (VP9 specification, 6.2). Several frames in one
/// sample (annex B) end in one that is shown.
pub(super) fn vp9_is_hidden(first: u8, last: u8) -> bool {
    let mut bits = Bits { bytes: &[first], at: 2 };
    let profile = bits.take(1) | bits.take(1) << 1;
    if profile == 3 {
        bits.flag();
    }
    let (repeats, _, shown) = (bits.flag(), bits.flag(), bits.flag());
    let several = last & 0xe0 == 0xc0;
    !repeats && !shown && !several
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golomb_numbers() {
        // 1, 010, 011, 00100, 00101 are 0, 1, 2, 3, 4.
        let mut bits = Bits { bytes: &[0b1010_0110, 0b0100_0010, 0b1000_0000], at: 0 };
        assert_eq!([(); 5].map(|()| bits.golomb()), [0, 1, 2, 3, 4]);
        let mut bits = Bits { bytes: &[0b1010_0110, 0b0100_0010, 0b1000_0000], at: 0 };
        assert_eq!([(); 5].map(|()| bits.signed_golomb()), [0, 1, -1, 2, -2]);
        assert_eq!(Bits { bytes: &[0; 2], at: 0 }.golomb(), 0);
    }

    #[test]
    fn a_record_cut_short_leaves_it_to_the_decoder() {
        assert_eq!(of_avc(&[]), None);
        assert_eq!(of_avc(&[1, 66, 0, 30, 0xff, 0xe1, 0, 9, 0x67, 66, 0, 30]), None);
        assert_eq!(of_avc(&[1, 66, 0, 30, 0xff, 0xe1, 0, 4, 0x67, 66, 0, 30]), None);
    }

    #[test]
    fn what_is_not_named_goes_by_height() {
        let colour = |matrix| Colour { matrix, full_range: false };
        assert_eq!(colour(None).standard(719), Some("smpte170m"));
        assert_eq!(colour(None).standard(720), Some("bt709"));
        assert_eq!(colour(Some(1)).standard(100), Some("bt709"));
        assert_eq!(colour(Some(5)).standard(2000), Some("smpte170m"));
        assert_eq!(colour(Some(9)).standard(2000), None);
        assert_eq!(colour(None).or_matrix(Some(5)).matrix, Some(5));
        assert_eq!(colour(Some(1)).or_matrix(Some(5)).matrix, Some(1));
        assert_eq!([matrix(1), matrix(2), matrix(300)], [Some(1), None, None]);
    }

    #[test]
    fn vp9_says_profile_depth_and_colours() {
        let said = |profile, depth, matrix| Some((profile, depth, Colour { matrix, full_range: false }));
        assert_eq!(of_vp9(&[0x82, 0x49, 0x83, 0x42, 0x00]), said(0, 8, None));
        assert_eq!(of_vp9(&[0x82, 0x49, 0x83, 0x42, 0x40]), said(0, 8, Some(1)));
        // Profile 2: first the bit for 12 instead of 10.
        assert_eq!(of_vp9(&[0x92, 0x49, 0x83, 0x42, 0x20]), said(2, 10, Some(1)));
        assert_eq!(of_vp9(&[0x92, 0x49, 0x83, 0x42, 0x80]), said(2, 12, None));
        assert_eq!(of_vp9(&[0x86, 0x49, 0x83, 0x42, 0x00]), None, "no keyframe");
        assert_eq!(of_vp9(&[0x82, 0x49]), None);
    }

    #[test]
    fn vp9_frames_for_later_ones() {
        assert!(!vp9_is_hidden(0x86, 0));
        assert!(vp9_is_hidden(0x84, 0));
        assert!(!vp9_is_hidden(0x84, 0xc1), "several frames in one");
        assert!(!vp9_is_hidden(0x88, 0), "shows an earlier one again");
    }
}
