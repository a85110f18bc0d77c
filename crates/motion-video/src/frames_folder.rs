//! Folders of frames. In: a folder of `.jpg`, `.jpeg` and `.png` pictures. Out: those pictures sorted by name, one
//! at a time.

use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageReader, ImageResult, Limits};
use motion_clip::Frame;

use crate::error::{Error, Result};

/// Largest side of a picture, in pixels.
const MAX_SIDE: u32 = 16_384;
/// Memory that decoding one picture may take, in bytes.
const MAX_MEMORY: u64 = 1 << 30;

/// A folder whose pictures are one video.
#[derive(Debug)]
pub(crate) struct FramesFolder {
    files: Vec<PathBuf>,
    /// Width and height of the first picture; the others must have the same.
    pub(crate) size: [usize; 2],
    /// When each frame is shown, in seconds.
    pub(crate) times: Vec<f64>,
    /// What people should know of their order.
    pub(crate) note: Option<String>,
}

impl FramesFolder {
    /// Lists the pictures of a folder; `rate` says how many are shown in a second, since files do not.
    ///
    /// # Errors
    /// When the folder cannot be read, holds no picture, or its first picture cannot be decoded.
    pub(crate) fn open(folder: &Path, rate: f64) -> Result<Self> {
        let mut files = Vec::new();
        for entry in folder.read_dir()? {
            let path = entry?.path();
            let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
            let extension = path.extension().map(|e| e.to_ascii_lowercase());
            let is_picture =
                extension.is_some_and(|e| ["jpg", "jpeg", "png"].iter().any(|known| e == *known));
            if is_picture && !hidden && path.is_file() {
                files.push(path);
            }
        }
        let Some(first) = files.iter().min() else {
            return Err(Error::NoPicture);
        };
        let frame = read(first)?;
        files.sort();
        let note = (!files.is_sorted_by(|a, b| number(a) <= number(b))).then(|| {
            "sorted by name, so that 10 stands before 2; if that is not meant, pad the numbers with zeros"
                .to_owned()
        });
        let times = (0..files.len()).map(|i| i as f64 / rate).collect();
        Ok(Self { files, size: [frame.width, frame.height], times, note })
    }

    /// Hands over the frames at `indices`, one at a time.
    ///
    /// # Errors
    /// When `each` fails, or a picture cannot be decoded or has another size than the first one.
    pub(crate) fn visit<E: From<Error>>(
        &self,
        indices: &[usize],
        mut each: impl FnMut(usize, Frame) -> Result<(), E>,
    ) -> Result<(), E> {
        for &index in indices {
            let mut frame = read(&self.files[index])?;
            let size = [frame.width, frame.height];
            if size != self.size {
                let [path, first] = [index, 0].map(|index| self.files[index].clone());
                return Err(Error::PictureSize { path, size, first, first_size: self.size }.into());
            }
            frame.time_secs = self.times[index];
            each(index, frame)?;
        }
        Ok(())
    }
}

/// One picture, turned as its camera says, without its alpha.
fn read(path: &Path) -> Result<Frame> {
    let decode = || -> ImageResult<DynamicImage> {
        let mut reader = ImageReader::open(path)?.with_guessed_format()?;
        let mut limits = Limits::default();
        (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
        limits.max_alloc = Some(MAX_MEMORY);
        reader.limits(limits);
        let mut decoder = reader.into_decoder()?;
        let orientation = decoder.orientation()?;
        let mut picture = DynamicImage::from_decoder(decoder)?;
        picture.apply_orientation(orientation);
        Ok(picture)
    };
    let rgb = decode().map_err(|reason| Error::Picture { path: path.to_owned(), reason })?.into_rgb8();
    let (width, height) = (rgb.width() as usize, rgb.height() as usize);
    Ok(Frame::new(width, height, rgb.into_raw(), 0.0)?)
}

/// The last number in a file's name.
fn number(path: &Path) -> Option<u64> {
    let stem = path.file_stem()?.to_str()?;
    let digits = stem.trim_end_matches(|c: char| !c.is_ascii_digit());
    let start = digits.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |last| last + 1);
    digits.get(start..)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};

    fn folder(pictures: &[(&str, u32, u32, u8)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for &(name, width, height, grey) in pictures {
            RgbImage::from_pixel(width, height, Rgb([grey; 3])).save(folder.path().join(name)).unwrap();
        }
        folder
    }

    #[test]
    fn pictures_come_sorted_by_name() {
        let folder = folder(&[("b.png", 3, 2, 20), ("a.png", 3, 2, 10), ("c.PNG", 3, 2, 30)]);
        std::fs::write(folder.path().join("notes.txt"), "no picture").unwrap();
        std::fs::write(folder.path().join("._a.png"), "a foreign system's litter").unwrap();
        let frames = FramesFolder::open(folder.path(), 4.0).unwrap();
        assert_eq!((frames.size, frames.times.as_slice()), ([3, 2], &[0.0, 0.25, 0.5][..]));
        let mut seen = Vec::new();
        let visited: Result<()> = frames.visit(&[0, 2], |index, frame| {
            seen.push((index, frame.rgb[0], frame.time_secs));
            Ok(())
        });
        visited.unwrap();
        assert_eq!(seen, [(0, 10, 0.0), (2, 30, 0.5)]);
    }

    #[test]
    fn another_size_names_both_files() {
        let folder = folder(&[("a.png", 3, 2, 0), ("b.png", 4, 2, 0)]);
        let frames = FramesFolder::open(folder.path(), 12.0).unwrap();
        let visited: Result<()> = frames.visit(&[0, 1], |_, _| Ok(()));
        let message = visited.unwrap_err().to_string();
        assert!(message.contains("b.png is 4 x 2") && message.contains("a.png is 3 x 2"), "{message}");
    }

    #[test]
    fn no_picture_and_no_true_picture() {
        let empty = tempfile::tempdir().unwrap();
        let message = FramesFolder::open(empty.path(), 12.0).unwrap_err().to_string();
        assert!(message.contains("no frame"), "{message}");
        std::fs::write(empty.path().join("a.jpg"), "text").unwrap();
        let message = FramesFolder::open(empty.path(), 12.0).unwrap_err().to_string();
        assert!(message.contains("a.jpg"), "{message}");
    }

    #[test]
    fn the_last_number_of_a_name() {
        assert_eq!(number(Path::new("x/frame0012.png")), Some(12));
        assert_eq!(number(Path::new("clip3_7b.png")), Some(7));
        assert_eq!(number(Path::new("view.png")), None);
    }
}
