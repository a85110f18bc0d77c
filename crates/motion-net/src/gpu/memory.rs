//! Activations on the GPU: buffers that are handed out, and taken back when the last tensor that uses them is gone.

use std::sync::{Arc, Mutex};

use super::lock;

/// Every activation starts with so many quads of zeros: what a convolution reads outside the map. An index into them
/// costs a kernel nothing, a branch at every load would. As many as the widest activation has quads of channels.
pub(super) const HEADER: u32 = 4096;
/// The same in bytes.
pub(super) const HEADER_BYTES: u64 = HEADER as u64 * QUAD_BYTES;
/// Four channels in f32.
pub(super) const QUAD_BYTES: u64 = 16;
/// A buffer may be so many times as large as what it is taken for.
const LOOSEST: f64 = 1.5;

/// Bytes on the GPU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Weights of all networks.
    pub weights: u64,
    /// Activations, in use or waiting to be used again.
    pub activations: u64,
    /// The most that activations have been, since the pool was last cleared.
    pub activations_peak: u64,
}

/// Buffers of activations.
#[derive(Debug, Default)]
pub(super) struct Pool {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    free: Vec<wgpu::Buffer>,
    memory: Memory,
    /// How often the pool was cleared: what was lent before is not taken back.
    cleared: u32,
}

/// A buffer on loan.
#[derive(Debug)]
pub(super) struct Loan {
    pub(super) buffer: wgpu::Buffer,
    pool: Arc<Pool>,
    cleared: u32,
}

/// A layer's weights.
#[derive(Debug)]
pub(super) struct Weights {
    pub(super) buffer: wgpu::Buffer,
    pool: Arc<Pool>,
}

impl Drop for Weights {
    fn drop(&mut self) {
        lock(&self.pool.state).memory.weights -= self.buffer.size();
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        // The GPU works in order: what is recorded already reads it before anybody writes it again.
        let mut state = lock(&self.pool.state);
        if state.cleared == self.cleared {
            state.free.push(self.buffer.clone());
        } else {
            state.memory.activations -= self.buffer.size();
        }
    }
}

impl Pool {
    /// The tightest of the free buffers that fit so many bytes.
    pub(super) fn reuse(self: &Arc<Self>, size: u64) -> Option<Loan> {
        let mut state = lock(&self.state);
        let fits = |buffer: &wgpu::Buffer| (size..=(size as f64 * LOOSEST) as u64).contains(&buffer.size());
        let fitting = (0..state.free.len()).filter(|i| fits(&state.free[*i]));
        let tightest = fitting.min_by_key(|i| state.free[*i].size())?;
        let buffer = state.free.swap_remove(tightest);
        Some(Loan { buffer, pool: self.clone(), cleared: state.cleared })
    }

    /// Whether a fresh buffer of this size would take the activations beyond their peak while others lie idle.
    pub(super) fn should_shrink_for(&self, size: u64) -> bool {
        let State { free, memory, .. } = &*lock(&self.state);
        !free.is_empty() && memory.activations + size > memory.activations_peak
    }

    /// Gives free buffers back to the device, largest first, until a fresh one of this size does not raise the peak or
    /// none is left. No command that has yet to be submitted may use them.
    pub(super) fn shrink_for(&self, size: u64) {
        let State { free, memory, .. } = &mut *lock(&self.state);
        free.sort_by_key(wgpu::Buffer::size);
        while memory.activations + size > memory.activations_peak
            && let Some(largest) = free.pop()
        {
            memory.activations -= largest.size();
            largest.destroy();
        }
    }

    /// A fresh buffer. It is all zeros (WebGPU), and no kernel writes a header.
    pub(super) fn make(self: &Arc<Self>, device: &wgpu::Device, size: u64) -> Loan {
        let mut state = lock(&self.state);
        let memory = &mut state.memory;
        memory.activations += size;
        memory.activations_peak = memory.activations_peak.max(memory.activations);
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("activation"),
            size,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Loan { buffer, pool: self.clone(), cleared: state.cleared }
    }

    /// Gives all buffers back to the device, those on loan when they come.
    pub(super) fn clear(&self) {
        let mut state = lock(&self.state);
        state.cleared += 1;
        let bytes: u64 = state.free.drain(..).map(|buffer| buffer.size()).sum();
        state.memory.activations -= bytes;
        state.memory.activations_peak = state.memory.activations;
    }

    /// Weights on the device, counted for as long as they are there.
    pub(super) fn weights(self: &Arc<Self>, buffer: wgpu::Buffer) -> Weights {
        lock(&self.state).memory.weights += buffer.size();
        Weights { buffer, pool: self.clone() }
    }

    pub(super) fn memory(&self) -> Memory {
        lock(&self.state).memory
    }
}
