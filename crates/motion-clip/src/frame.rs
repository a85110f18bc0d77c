//! One decoded picture. In: bytes from a decoder. Out: a [`Frame`] whose size is known to be true.

use crate::{Error, Result};

/// One picture of a video.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// `[height, width, 3]`: red, green, blue, rows from the top.
    pub rgb: Vec<u8>,
    /// When the frame is shown, in seconds from the start of the video.
    pub time_secs: f64,
}

impl Frame {
    /// A frame from its bytes.
    ///
    /// # Errors
    /// [`Error::EmptyFrame`] for a side of 0, [`Error::FrameBytes`] unless there are `3 * width * height` bytes.
    pub fn new(width: usize, height: usize, rgb: Vec<u8>, time_secs: f64) -> Result<Self> {
        let frame = Self { width, height, rgb, time_secs };
        frame.check()?;
        Ok(frame)
    }

    /// Whether size and bytes agree; the fields are public, so a frame is checked again before it is used.
    ///
    /// # Errors
    /// As [`Frame::new`].
    pub fn check(&self) -> Result<()> {
        let Self { width, height, .. } = *self;
        if width == 0 || height == 0 {
            return Err(Error::EmptyFrame { width, height });
        }
        let expected = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(3));
        if expected != Some(self.rgb.len()) {
            return Err(Error::FrameBytes { width, height, found: self.rgb.len() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_and_bytes_must_agree() {
        assert!(Frame::new(2, 1, vec![0; 6], 0.0).is_ok());
        assert_eq!(Frame::new(0, 4, vec![], 0.0), Err(Error::EmptyFrame { width: 0, height: 4 }));
        assert_eq!(
            Frame::new(2, 1, vec![0; 8], 0.0),
            Err(Error::FrameBytes { width: 2, height: 1, found: 8 })
        );
    }

    #[test]
    fn a_size_beyond_memory_is_an_error_not_an_overflow() {
        assert!(Frame::new(usize::MAX, 3, vec![0; 9], 0.0).is_err());
    }
}
