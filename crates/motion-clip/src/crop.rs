//! Which part of a resized picture the network sees. In: sizes in pixels. Out: offsets of the crop.

use crate::{Error, Result};

/// Where a crop of `size` starts inside `side` so that it lies in the middle; halves go to the even number,
/// as Python's `round` does in the published code (59.5 -> 60, 58.5 -> 58).
///
/// # Errors
/// [`Error::Crop`] when `size` is larger than `side`.
pub fn centre_offset(side: usize, size: usize) -> Result<usize> {
    let rest = side.checked_sub(size).ok_or(Error::Crop {
        width: size,
        height: size,
        from_width: side,
        from_height: side,
    })?;
    // rest / 2 rounded half to even: an odd rest ends in one half and goes up when its floor is odd.
    let half = rest / 2;
    Ok(half + (rest % 2) * (half % 2))
}

/// The (row, column) offsets of the left, right and centre crops, in this order: the three views of the
/// Kinetics test. They are made of quarter steps, `(side - size) / 4` truncated.
///
/// # Errors
/// [`Error::Crop`] when the crop is larger than the picture.
pub fn three_crops(height: usize, width: usize, size: usize) -> Result<[[usize; 2]; 3]> {
    let error = Error::Crop { width: size, height: size, from_width: width, from_height: height };
    let (Some(rows), Some(columns)) = (height.checked_sub(size), width.checked_sub(size)) else {
        return Err(error);
    };
    let (row, column) = (rows / 4, columns / 4);
    Ok([[2 * row, 0], [2 * row, 4 * column], [2 * row, 2 * column]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_even_number() {
        assert_eq!(centre_offset(224 + 119, 224), Ok(60)); // 59.5
        assert_eq!(centre_offset(224 + 117, 224), Ok(58)); // 58.5
        assert_eq!(centre_offset(225, 224), Ok(0)); // 0.5
        assert_eq!(centre_offset(224, 224), Ok(0));
    }

    #[test]
    fn a_crop_larger_than_the_picture_is_an_error() {
        assert!(centre_offset(223, 224).is_err());
        assert!(three_crops(300, 255, 256).is_err());
    }
}
