//! Time that each dispatch takes, by the GPU's own clock.

/// What a dispatch has to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// The kernel.
    pub kernel: &'static str,
    /// Its shape in words.
    pub detail: String,
    /// Floating point operations; a multiplication with its addition is two.
    pub operations: u64,
    /// Bytes that must be read or written at least once.
    pub bytes: u64,
}

/// A dispatch and how long it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Timed {
    /// What it did.
    pub work: Work,
    /// How long it took.
    pub nanoseconds: f64,
}

/// Dispatches whose times are being taken.
#[derive(Default)]
pub(super) struct Profile {
    pub(super) parts: Vec<Part>,
}

/// The dispatches of one submission.
pub(super) struct Part {
    pub(super) work: Vec<Work>,
    /// Two timestamps of 8 bytes for each.
    pub(super) times: wgpu::Buffer,
}

/// Where the GPU takes down the times of one submission.
pub(super) struct Queries {
    pub(super) set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    times: wgpu::Buffer,
}

impl Profile {
    /// Room for the times of these dispatches.
    pub(super) fn begin(&mut self, device: &wgpu::Device, work: impl Iterator<Item = Work>) -> Queries {
        let work: Vec<Work> = work.collect();
        let count = 2 * work.len() as u32;
        let buffer = |usage| {
            let size = u64::from(count) * u64::from(wgpu::QUERY_SIZE);
            let label = Some("times");
            device.create_buffer(&wgpu::BufferDescriptor { label, size, usage, mapped_at_creation: false })
        };
        let queries = Queries {
            set: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("times"),
                ty: wgpu::QueryType::Timestamp,
                count,
            }),
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            times: buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
        };
        self.parts.push(Part { work, times: queries.times.clone() });
        queries
    }
}

impl Queries {
    pub(super) fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        let size = self.times.size();
        let count = (size / u64::from(wgpu::QUERY_SIZE)) as u32;
        encoder.resolve_query_set(&self.set, 0..count, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.times, 0, size);
    }
}
