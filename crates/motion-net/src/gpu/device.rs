//! The adapter and its device: opened, watched for errors, fed with recorded commands, read from.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures_channel::oneshot;

use super::kernels::{Constants, Kernel, Pipeline, Pipelines, Precision};
use super::lock;
use super::memory::{HEADER_BYTES, Loan, Memory, Pool, Weights};
use super::profile::{Profile, Work};
use crate::{Error, Result};

/// Commands are handed to the GPU after so many of them, or so much work: it starts while we still record, and no
/// hand-over takes a software adapter so long that a browser takes it for dead.
const DISPATCHES: usize = 64;
const OPERATIONS: u64 = 4_000_000_000;
/// What the user of the program can do; a page goes on with the CPU by itself.
const REMEDY: &str = if cfg!(target_arch = "wasm32") {
    ""
} else {
    "; install a driver for Vulkan, Metal or DirectX 12 (Debian: mesa-vulkan-drivers), or use --backend cpu"
};
const ANEW: &str = if cfg!(target_arch = "wasm32") { "" } else { "; open the backend anew, or use the cpu" };
/// Bytes between the numbers of two dispatches; every device takes offsets of such multiples.
const PARAMS_STRIDE: usize = 256;

/// What went wrong on the device and has not been told yet.
#[derive(Debug, Default)]
struct Faults {
    /// The device is gone for good.
    lost: Option<String>,
    errors: Vec<String>,
}

/// A device with its pipelines, its activations and the commands that it has not been given yet.
pub(super) struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) info: wgpu::AdapterInfo,
    pub(super) pipelines: Pipelines,
    pub(super) pool: Arc<Pool>,
    pub(super) limits: wgpu::Limits,
    faults: Arc<Mutex<Faults>>,
    recorded: Mutex<Recorded>,
    /// Dispatches are left out; all else is done.
    rehearsing: AtomicBool,
    /// The numbers of the recorded dispatches.
    params: wgpu::Buffer,
    pub(super) profile: Mutex<Option<Profile>>,
    #[cfg(all(target_arch = "wasm32", feature = "browser"))]
    pub(super) instance: wgpu::Instance,
    #[cfg(all(target_arch = "wasm32", feature = "browser"))]
    pub(super) screen: super::browser::Screen,
    /// Errors that the browser will tell of what was submitted.
    #[cfg(target_arch = "wasm32")]
    scopes: std::cell::RefCell<Vec<std::pin::Pin<Box<dyn Future<Output = Option<wgpu::Error>>>>>>,
}

#[derive(Default)]
struct Recorded {
    dispatches: Vec<Dispatch>,
    params: Vec<u8>,
    operations: u64,
}

struct Dispatch {
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    groups: [u32; 3],
    work: Work,
}

/// A buffer as a kernel sees it.
#[derive(Clone, Copy)]
pub(super) enum Bound<'a> {
    /// All of it: weights, and activations with their header.
    Whole(&'a wgpu::Buffer),
    /// An activation behind its header.
    Values(&'a wgpu::Buffer),
}

impl<'a> Bound<'a> {
    fn resource(self) -> wgpu::BindingResource<'a> {
        let (buffer, offset) = match self {
            Self::Whole(buffer) => (buffer, 0),
            Self::Values(buffer) => (buffer, HEADER_BYTES),
        };
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size: None })
    }
}

/// What one dispatch runs on.
pub(super) struct Call<'a> {
    pub(super) kernel: &'static Kernel,
    pub(super) constants: Constants,
    /// The kernel's numbers.
    pub(super) params: &'a [u8],
    /// What it reads, then what it writes.
    pub(super) buffers: &'a [Bound<'a>],
    pub(super) groups: [u32; 3],
    pub(super) work: Work,
}

pub(super) fn failed(message: impl Into<String>) -> Error {
    Error::Backend { backend: "gpu", message: message.into() }
}

impl Gpu {
    /// The fastest adapter there is, or the one whose name contains `name`.
    pub(super) async fn open(name: Option<&str>, precision: Precision) -> Result<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapter = Self::adapter(&instance, name).await?;
        let info = adapter.get_info();
        if !adapter.features().contains(precision.needs()) {
            return Err(failed(format!(
                "the adapter {:?} knows no 16-bit numbers (shader-f16), which precision f16 needs; use f32",
                info.name
            )));
        }
        let wanted = wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SUBGROUP | precision.needs();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("motionlens"),
            required_features: adapter.features() & wanted,
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(|error| {
            failed(format!("the adapter {:?} gives no device ({}){REMEDY}", info.name, on_one_line(&error)))
        })?;
        let faults = Arc::new(Mutex::new(Faults::default()));
        let noted = faults.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            lock(&noted).errors.push(describe(&error));
        }));
        let noted = faults.clone();
        device.set_device_lost_callback(move |reason, message| {
            lock(&noted).lost = Some(format!("the device was lost ({reason:?}: {message})"));
        });
        let params = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("params"),
            size: (DISPATCHES * PARAMS_STRIDE) as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Ok(Self {
            limits: device.limits(),
            device,
            queue,
            info,
            pipelines: Pipelines::new(precision),
            pool: Arc::default(),
            faults,
            recorded: Mutex::default(),
            rehearsing: AtomicBool::default(),
            params,
            profile: Mutex::new(None),
            #[cfg(all(target_arch = "wasm32", feature = "browser"))]
            instance,
            #[cfg(all(target_arch = "wasm32", feature = "browser"))]
            screen: Default::default(),
            #[cfg(target_arch = "wasm32")]
            scopes: std::cell::RefCell::default(),
        })
    }

    async fn adapter(instance: &wgpu::Instance, name: Option<&str>) -> Result<wgpu::Adapter> {
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(name) = name {
            let adapters = instance.enumerate_adapters(wgpu::Backends::all()).await;
            let names: Vec<String> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
            let wanted = name.to_ascii_lowercase();
            let found =
                adapters.into_iter().find(|a| a.get_info().name.to_ascii_lowercase().contains(&wanted));
            return found
                .ok_or_else(|| failed(format!("no adapter is called {name:?}; there are {names:?}")));
        }
        let _ = name;
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        instance.request_adapter(&options).await.map_err(|error| {
            failed(format!("no graphics adapter was found ({}){REMEDY}", on_one_line(&error)))
        })
    }

    pub(super) fn memory(&self) -> Memory {
        self.pool.memory()
    }

    /// What went wrong since the last look.
    ///
    /// # Errors
    /// When something did; a lost device stays lost.
    pub(super) fn check(&self) -> Result<()> {
        let mut faults = lock(&self.faults);
        let message = match &faults.lost {
            Some(lost) => Some(format!("{lost}{ANEW}")),
            None => faults.errors.first().cloned(),
        };
        let Some(message) = message else { return Ok(()) };
        faults.errors.clear();
        drop(faults);
        // What was made in between may be no good.
        *lock(&self.recorded) = Recorded::default();
        self.pool.clear();
        Err(failed(message))
    }

    /// Bytes that an activation may have, its header included.
    pub(super) fn largest_activation(&self) -> u64 {
        self.limits.max_buffer_size.min(self.limits.max_storage_buffer_binding_size)
    }

    /// An activation's buffer for so many bytes.
    ///
    /// # Errors
    /// When the device takes no buffer of this size.
    pub(super) fn take(&self, bytes: u64) -> Result<Loan> {
        let most = self.largest_activation();
        let size = bytes + HEADER_BYTES;
        if size > most {
            return Err(failed(format!(
                "out of memory: an activation of {bytes} bytes, the device takes {most}; use fewer or smaller frames"
            )));
        }
        if let Some(loan) = self.pool.reuse(size) {
            return Ok(loan);
        }
        if self.pool.should_shrink_for(size) {
            self.submit(|_| ());
            self.pool.shrink_for(size);
        }
        Ok(self.pool.make(&self.device, size))
    }

    /// A convolution's weights, in the precision that its shader expects.
    pub(super) fn weights(&self, values: &[f32]) -> Weights {
        match self.pipelines.precision {
            Precision::F32 => self.numbers(values),
            Precision::F16 => {
                // A buffer is at least 16 bytes.
                let padding = std::iter::repeat_n(0.0, 8_usize.saturating_sub(values.len()));
                let halves = values.iter().copied().chain(padding).map(half::f16::from_f32);
                self.constant(&halves.flat_map(half::f16::to_le_bytes).collect::<Vec<u8>>())
            }
        }
    }

    /// Numbers of a layer that stay f32.
    pub(super) fn numbers(&self, values: &[f32]) -> Weights {
        self.constant(bytemuck::cast_slice(values))
    }

    /// A buffer that stays as it is.
    fn constant(&self, bytes: &[u8]) -> Weights {
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("weights"),
            size: bytes.len() as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.queue.write_buffer(&buffer, 0, bytes);
        self.pool.weights(buffer)
    }

    /// Workgroup memory of the device in bytes.
    pub(super) fn workgroup_memory(&self) -> usize {
        self.limits.max_compute_workgroup_storage_size as usize
    }

    /// Whether kernels may exchange values within subgroups.
    pub(super) fn has_subgroups(&self) -> bool {
        self.device.features().contains(wgpu::Features::SUBGROUP)
    }

    /// Invocations of the smallest subgroup that the adapter runs.
    pub(super) fn smallest_subgroup(&self) -> usize {
        self.info.subgroup_min_size as usize
    }

    /// So many workgroups along one axis, or along two where a device takes no more along one.
    pub(super) fn spread(&self, groups: u32) -> [u32; 2] {
        let most = self.limits.max_compute_workgroups_per_dimension;
        let rows = groups.div_ceil(most);
        [groups.div_ceil(rows.max(1)), rows]
    }

    /// Whether dispatches are left out from now on.
    pub(super) fn rehearse(&self, rehearsing: bool) {
        self.rehearsing.store(rehearsing, Ordering::Relaxed);
    }

    /// Records a dispatch, and hands over what is recorded when it has become enough.
    ///
    /// # Errors
    /// When something went wrong before.
    pub(super) fn record(&self, call: Call<'_>) -> Result<()> {
        self.check()?;
        let Pipeline { pipeline, layout, params_size } =
            self.pipelines.get(&self.device, call.kernel, &call.constants);
        if self.rehearsing.load(Ordering::Relaxed) {
            return Ok(());
        }
        let params = wgpu::BindGroupEntry {
            binding: 0,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &self.params,
                offset: 0,
                size: wgpu::BufferSize::new(params_size),
            }),
        };
        let buffers = call.buffers.iter().zip(1..);
        let buffers =
            buffers.map(|(bound, binding)| wgpu::BindGroupEntry { binding, resource: bound.resource() });
        let entries: Vec<_> = std::iter::once(params).chain(buffers).collect();
        let bindings = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(call.kernel.name),
            layout: &layout,
            entries: &entries,
        });
        let full = {
            let mut recorded = lock(&self.recorded);
            let end = (recorded.dispatches.len() + 1) * PARAMS_STRIDE;
            recorded.params.extend_from_slice(call.params);
            recorded.params.resize(end, 0);
            recorded.operations += call.work.operations;
            let (groups, work) = (call.groups, call.work);
            recorded.dispatches.push(Dispatch { pipeline, bindings, groups, work });
            recorded.dispatches.len() == DISPATCHES || recorded.operations > OPERATIONS
        };
        if full {
            self.submit(|_| ());
        }
        Ok(())
    }

    /// Hands over all that is recorded, and what `more` adds.
    pub(super) fn submit(&self, more: impl FnOnce(&mut wgpu::CommandEncoder)) {
        #[cfg(target_arch = "wasm32")]
        let scopes =
            [wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal]
                .map(|filter| self.device.push_error_scope(filter));
        let recorded = std::mem::take(&mut *lock(&self.recorded));
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        if !recorded.dispatches.is_empty() {
            self.queue.write_buffer(&self.params, 0, &recorded.params);
            match &mut *lock(&self.profile) {
                None => self.encode(&mut encoder, &recorded.dispatches),
                Some(profile) => self.encode_timed(&mut encoder, &recorded.dispatches, profile),
            }
        }
        more(&mut encoder);
        self.queue.submit([encoder.finish()]);
        #[cfg(target_arch = "wasm32")]
        for scope in scopes.into_iter().rev() {
            self.scopes.borrow_mut().push(Box::pin(scope.pop()));
        }
    }

    fn encode(&self, encoder: &mut wgpu::CommandEncoder, dispatches: &[Dispatch]) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for (index, dispatch) in dispatches.iter().enumerate() {
            dispatch.encode(index, &mut pass);
        }
    }

    /// Each dispatch in a pass of its own, whose beginning and end the GPU takes down.
    fn encode_timed(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        dispatches: &[Dispatch],
        profile: &mut Profile,
    ) {
        let queries = profile.begin(&self.device, dispatches.iter().map(|dispatch| dispatch.work.clone()));
        for (index, dispatch) in dispatches.iter().enumerate() {
            let first = 2 * index as u32;
            let timestamp_writes = Some(wgpu::ComputePassTimestampWrites {
                query_set: &queries.set,
                beginning_of_pass_write_index: Some(first),
                end_of_pass_write_index: Some(first + 1),
            });
            let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
            dispatch.encode(index, &mut encoder.begin_compute_pass(&descriptor));
        }
        queries.resolve(encoder);
    }

    /// Bytes of a buffer, after all that was recorded has run.
    ///
    /// # Errors
    /// When anything that they depend on went wrong.
    pub(super) async fn read(&self, buffer: &wgpu::Buffer, offset: u64, size: u64) -> Result<Vec<u8>> {
        self.check()?;
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("read"),
            size,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.submit(|encoder| encoder.copy_buffer_to_buffer(buffer, offset, &staging, 0, size));
        self.mapped(&staging).await
    }

    /// Bytes of a buffer that the host can map.
    ///
    /// # Errors
    /// When anything that they depend on went wrong.
    pub(super) async fn mapped(&self, staging: &wgpu::Buffer) -> Result<Vec<u8>> {
        let (sender, receiver) = oneshot::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            // Nobody listens when the reader was dropped.
            let _ = sender.send(result);
        });
        self.wait()?;
        let mapped = receiver.await;
        self.errors_told().await;
        self.check()?;
        let unreadable = |reason: String| failed(format!("a result cannot be read ({reason})"));
        mapped
            .map_err(|_| unreadable("the device is gone".into()))?
            .map_err(|e| unreadable(e.to_string()))?;
        let bytes = staging.get_mapped_range(..).map_err(|error| unreadable(error.to_string()))?.to_vec();
        staging.unmap();
        Ok(bytes)
    }

    /// Until all that was submitted has run; in a browser the event loop does that.
    fn wait(&self) -> Result<()> {
        let polled = self.device.poll(wgpu::PollType::wait_indefinitely());
        polled.map(|_| ()).map_err(|error| failed(format!("the device does not answer ({error})")))
    }

    /// Until the browser has told every error of what was submitted.
    #[cfg(target_arch = "wasm32")]
    async fn errors_told(&self) {
        let scopes = std::mem::take(&mut *self.scopes.borrow_mut());
        for scope in scopes {
            if let Some(error) = scope.await {
                lock(&self.faults).errors.push(describe(&error));
            }
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    async fn errors_told(&self) {}
}

impl Dispatch {
    fn encode(&self, index: usize, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings, &[(index * PARAMS_STRIDE) as u32]);
        let [x, y, z] = self.groups;
        pass.dispatch_workgroups(x, y, z);
    }
}

/// An error's words without line breaks, and without what is wrapped around those of a browser.
fn on_one_line(error: &impl std::fmt::Display) -> String {
    let words: Vec<String> = error.to_string().split_whitespace().map(str::to_owned).collect();
    let line = words.join(" ");
    line.trim_start_matches("JsValue(").trim_end_matches(" undefined)").to_owned()
}

fn describe(error: &wgpu::Error) -> String {
    let kind = match error {
        wgpu::Error::OutOfMemory { .. } => "out of memory on the device; use fewer or smaller frames",
        wgpu::Error::Validation { .. } => "the device refused a command",
        wgpu::Error::Internal { .. } => "the driver failed",
    };
    format!("{kind}: {}", on_one_line(error))
}
