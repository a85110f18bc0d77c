//! Bytes of a file that the user chose, read piece by piece. In: the browser's `Blob`. Out: `Read + Seek`.

use std::io::{Error, Read, Result, Seek, SeekFrom};

use wasm_bindgen::JsValue;
use web_sys::{Blob, FileReaderSync};

/// Bytes fetched at a time. A call takes milliseconds whatever it fetches, so a long file wants few of them.
const WINDOW: u64 = 1 << 20;

/// A file that stays where it is: a video of two gigabytes takes no more memory than its index.
#[derive(Debug)]
pub struct BlobReader {
    blob: Blob,
    reader: FileReaderSync,
    length: u64,
    at: u64,
    /// The bytes last fetched, and where they begin.
    window: Vec<u8>,
    begins: u64,
}

impl BlobReader {
    /// # Errors
    /// Outside a worker, where no file can be read synchronously.
    pub fn new(blob: Blob) -> Result<Self> {
        let reader = FileReaderSync::new().map_err(browser_error)?;
        Ok(Self { length: blob.size() as u64, blob, reader, at: 0, window: Vec::new(), begins: 0 })
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes `offset .. offset + size` of the file.
    ///
    /// # Errors
    /// When they are not there, or the file changed since it was chosen.
    pub fn part(&self, offset: u64, size: u64) -> Result<Vec<u8>> {
        let part =
            self.blob.slice_with_f64_and_f64(offset as f64, (offset + size) as f64).map_err(browser_error)?;
        let buffer = self.reader.read_as_array_buffer(&part).map_err(browser_error)?;
        let bytes = js_sys::Uint8Array::new(&buffer).to_vec();
        if bytes.len() as u64 == size { Ok(bytes) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
    }
}

fn browser_error(error: JsValue) -> Error {
    let message = js_sys::Reflect::get(&error, &"message".into()).ok().and_then(|m| m.as_string());
    Error::other(message.unwrap_or_else(|| format!("{error:?}")))
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let window = self.begins..self.begins + self.window.len() as u64;
        if !window.contains(&self.at) {
            let size = self.length.saturating_sub(self.at).min(WINDOW);
            self.window = if size == 0 { Vec::new() } else { self.part(self.at, size)? };
            self.begins = self.at;
        }
        let rest = self.window.get((self.at - self.begins) as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for BlobReader {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::Current(step) => self.at.checked_add_signed(step),
            SeekFrom::End(step) => self.length.checked_add_signed(step),
        };
        self.at = place.ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
