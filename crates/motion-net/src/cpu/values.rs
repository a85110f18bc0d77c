//! Candle tensors in, their numbers as slices out (and back).

use std::mem::MaybeUninit;
use std::ops::{Deref, Range};

use candle_core::{CpuStorage, Device, Layout, Storage, StorageRef, Tensor};

use super::parallel::for_pieces;

/// Why a slice could not be had, in candle's own error type (custom operations must answer in it).
pub(super) fn refuse(message: impl std::fmt::Display) -> candle_core::Error {
    candle_core::Error::Msg(message.to_string())
}

/// The numbers of a contiguous f32 tensor, for as long as this lives.
pub(super) struct Values<'a> {
    storage: StorageRef<'a>,
    range: Range<usize>,
}

/// Borrows a tensor's numbers.
pub(super) fn values(tensor: &Tensor) -> candle_core::Result<Values<'_>> {
    let (storage, layout) = tensor.storage_and_layout();
    let range = contiguous(layout)?;
    match &*storage {
        Storage::Cpu(CpuStorage::F32(_)) => Ok(Values { storage, range }),
        _ => Err(refuse(format!("expected f32 numbers on the cpu, found {:?}", tensor.dtype()))),
    }
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(all)) => &all[self.range.clone()],
            _ => unreachable!("checked when it was borrowed"),
        }
    }
}

/// The same for what a custom operation is handed.
pub(super) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    let range = contiguous(layout)?;
    match storage {
        CpuStorage::F32(all) => Ok(&all[range]),
        _ => Err(refuse("expected f32 numbers")),
    }
}

fn contiguous(layout: &Layout) -> candle_core::Result<Range<usize>> {
    let (start, end) =
        layout.contiguous_offsets().ok_or_else(|| refuse("expected a contiguous tensor (our own bug)"))?;
    Ok(start..end)
}

/// A tensor of these numbers.
pub(super) fn tensor(data: Vec<f32>, shape: &[usize]) -> candle_core::Result<Tensor> {
    Tensor::from_vec(data, shape, &Device::Cpu)
}

fn out_of_memory(length: usize) -> candle_core::Error {
    refuse(format!("out of memory: no room for {length} numbers; use fewer or smaller frames"))
}

/// So many values, each piece of `size` of them written by `work(index, piece)`, which shows so by giving it back.
/// Zeroing them first would be a tenth of a network's time. Fails as [`zeros`] does.
pub(super) fn written(
    length: usize,
    size: usize,
    work: impl for<'a> Fn(usize, &'a mut [MaybeUninit<f32>]) -> &'a mut [f32] + Sync,
) -> candle_core::Result<Vec<f32>> {
    let mut values: Vec<f32> = Vec::new();
    values.try_reserve_exact(length).map_err(|_| out_of_memory(length))?;
    for_pieces(&mut values.spare_capacity_mut()[..length], size, |i, piece| {
        let unwritten = (piece.as_ptr().addr(), piece.len());
        let written = work(i, piece);
        assert_eq!((written.as_ptr().addr(), written.len()), unwritten, "another slice than the piece");
    });
    // SAFETY: the pieces make up all `length` values, there is room for them, and each came back as numbers.
    unsafe { values.set_len(length) };
    Ok(values)
}

/// So many values, written by `work`, all of them. Fails as [`zeros`] does.
pub(super) fn filled(
    length: usize,
    work: impl FnOnce(&mut [MaybeUninit<f32>]),
) -> candle_core::Result<Vec<f32>> {
    let mut values: Vec<f32> = Vec::new();
    values.try_reserve_exact(length).map_err(|_| out_of_memory(length))?;
    work(&mut values.spare_capacity_mut()[..length]);
    // SAFETY: there is room for so many, and they have been written.
    unsafe { values.set_len(length) };
    Ok(values)
}

/// So many zeros, or an error where there is no memory for them (a browser's module has 4 GiB at most; plain
/// `vec!` would end the program).
pub(super) fn zeros(length: usize) -> candle_core::Result<Vec<f32>> {
    let full = || out_of_memory(length);
    let layout = std::alloc::Layout::array::<f32>(length).map_err(|_| full())?;
    if length == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the layout is that of a `Vec<f32>` of this capacity and its size is not zero; all bytes zero is the
    // number 0.0, so all `length` values are initialised.
    unsafe {
        // Zeroed by the system where it can: `resize` would touch every page here, on one thread.
        let pointer = std::alloc::alloc_zeroed(layout).cast::<f32>();
        if pointer.is_null() {
            return Err(full());
        }
        Ok(Vec::from_raw_parts(pointer, length, length))
    }
}

#[cfg(test)]
mod tests {
    use super::zeros;

    #[test]
    fn too_much_memory_is_an_error() {
        // More than an address can name: refused on every system, whatever it promises beyond its memory.
        for length in [usize::MAX, usize::MAX / 8, usize::MAX >> 12] {
            let error = zeros(length).unwrap_err().to_string();
            assert!(error.starts_with("out of memory"), "{error}");
        }
        assert_eq!(zeros(0).unwrap(), Vec::<f32>::new());
        assert_eq!(zeros(3).unwrap(), [0.0; 3]);
    }
}
