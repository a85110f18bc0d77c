//! Whether a stream names its colour matrix. In: an H.264 or VP9 header. Out: [`Colour`].
//!
//! Where nothing is named, decoders guess, and not all alike. `motionlens` and this module both take pictures at
//! least 720 pixels high for BT.709 and lower ones for BT.601, as players do, so that both see the same colours.

/// What a stream says about its colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Colour {
    /// It names them, or they were not looked for: the decoder knows best.
    #[default]
    Named,
    /// It does not.
    Unnamed {
        /// Whether luma runs over all 256 levels.
        full_range: bool,
    },
}

/// The value that stands for "unspecified" in all these standards (ITU-T H.273, table 4).
pub(super) const UNSPECIFIED: u64 = 2;
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
pub(super) fn of_avc(record: &[u8]) -> Colour {
    let set = record.get(6..8).and_then(|length| {
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        record.get(8..8 + length)
    });
    set.and_then(of_parameter_set).unwrap_or_default()
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
    let unnamed = |full_range| Some(Colour::Unnamed { full_range });
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
    let matrix = bits.take(8);
    match bits.ended() {
        true => None,
        false if matrix == UNSPECIFIED => unnamed(full_range),
        false => Some(Colour::Named),
    }
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
    let colour = match bits.take(3) {
        0 => Colour::Unnamed { full_range: bits.flag() },
        _ => Colour::Named,
    };
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
        assert_eq!(of_avc(&[]), Colour::Named);
        assert_eq!(of_avc(&[1, 66, 0, 30, 0xff, 0xe1, 0, 9, 0x67, 66, 0, 30]), Colour::Named);
        assert_eq!(of_avc(&[1, 66, 0, 30, 0xff, 0xe1, 0, 4, 0x67, 66, 0, 30]), Colour::Named);
    }

    #[test]
    fn vp9_says_profile_depth_and_colours() {
        let named = Some((0, 8, Colour::Named));
        let unnamed = Some((0, 8, Colour::Unnamed { full_range: false }));
        assert_eq!(of_vp9(&[0x82, 0x49, 0x83, 0x42, 0x00]), unnamed);
        assert_eq!(of_vp9(&[0x82, 0x49, 0x83, 0x42, 0x40]), named);
        // Profile 2: first the bit for 12 instead of 10.
        assert_eq!(of_vp9(&[0x92, 0x49, 0x83, 0x42, 0x20]), Some((2, 10, Colour::Named)));
        assert_eq!(of_vp9(&[0x92, 0x49, 0x83, 0x42, 0x80]), Some((2, 12, Colour::Unnamed { full_range: false })));
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
