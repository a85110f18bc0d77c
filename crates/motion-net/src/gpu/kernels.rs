//! The shaders of `shaders/`: what each is called, what it reads and writes, and its numbers. Out: pipelines, each made
//! once.

use std::collections::HashMap;
use std::sync::Mutex;

use super::lock;

/// A shader: its file, its entry point and the operation share a name. What it shares with others stands before it.
pub(super) struct Kernel {
    pub(super) name: &'static str,
    pub(super) source: &'static str,
    /// Name and offset of each of its numbers, as the host has them.
    #[cfg_attr(not(test), allow(dead_code, reason = "compared with the shader's by a test"))]
    params: &'static [(&'static str, usize)],
    /// Bytes of them.
    params_size: u64,
    /// Buffers that it reads, bound after the numbers.
    reads: u32,
    /// Buffers that it writes, bound after those.
    writes: u32,
    /// What the adapter must have for it.
    #[cfg_attr(not(test), allow(dead_code, reason = "a test validates it with this and no more"))]
    needs: wgpu::Features,
}

/// How the weights of convolutions are kept on the card. What is computed with them is f32 in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// As they are.
    #[default]
    F32,
    /// In half the bytes, rounded to 11 bits, where the adapter has `shader-f16`.
    F16,
}

impl Precision {
    /// What stands before every shader.
    fn head(self) -> &'static str {
        match self {
            Self::F32 => include_str!("../../../../shaders/parts/weight_f32.wgsl"),
            Self::F16 => include_str!("../../../../shaders/parts/weight_f16.wgsl"),
        }
    }

    /// What the adapter must have for it.
    pub(super) fn needs(self) -> wgpu::Features {
        match self {
            Self::F32 => wgpu::Features::empty(),
            Self::F16 => wgpu::Features::SHADER_F16,
        }
    }
}

/// The numbers of a shader, as the host has them, with the name and offset of each.
macro_rules! params {
    ($($params:ident { $($field:ident: $type:ty),* })*) => {
        $(
            #[repr(C)]
            #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
            pub(super) struct $params { $(pub(super) $field: $type),* }

            impl $params {
                const FIELDS: &[(&str, usize)] = &[$((stringify!($field), std::mem::offset_of!($params, $field))),*];
            }
        )*
    };
}

params! {
    ConvParams { height: u32, width: u32, channels: u32, out_height: u32, out_width: u32, outputs: u32, positions: u32, packed: u32, clip: u32, fold: u32, low: f32, high: f32 }
    MaxPoolParams { height: u32, width: u32, channels: u32, out_height: u32, out_width: u32, length: u32 }
    TemporalShiftParams { length: u32, frame: u32, channels: u32, clip: u32, fold: u32 }
    UnitLengthParams { positions: u32, channels: u32, epsilon: f32 }
    TakeFramesParams { length: u32, frame: u32, clip_in: u32, clip_out: u32, first: u32 }
    CorrelationParams { height: u32, width: u32, channels: u32, side: u32, quads: u32, length: u32 }
    MatchFramesParams { height: u32, width: u32, channels: u32, line_groups: u32, groups: u32, sharpness: f32, falloff: f32 }
    CombineParams { length: u32 }
    ConcatParams { a_channels: u32, b_channels: u32, a_quads: u32, b_quads: u32, y_quads: u32, length: u32 }
    PeakParams { rounds: u32, length: u32 }
    MeanParams { middle: u32, channels: u32, length: u32 }
    ResizeParams { length: u32, lines: u32, source_start: i32, source_along: i32, source_beside: i32, result_along: u32, result_beside: u32 }
    NormaliseParams { width: u32, stride: u32, first: u32, length: u32 }
    PictureParams { width: u32, height: u32, maps: u32, stride: u32, shades: u32, scale: f32 }
}

macro_rules! kernels {
    ($($kernel:ident $params:ident $file:literal ($reads:literal to $writes:literal) $(after $part:literal)? $(needs $feature:ident)?;)*) => {
        $(
            pub(super) static $kernel: Kernel = Kernel {
                name: $file,
                source: concat!(
                    $(include_str!(concat!("../../../../shaders/parts/", $part, ".wgsl")),)?
                    include_str!(concat!("../../../../shaders/", $file, ".wgsl"))
                ),
                params: $params::FIELDS,
                params_size: size_of::<$params>() as u64,
                reads: $reads,
                writes: $writes,
                needs: wgpu::Features::empty()$(.union(wgpu::Features::$feature))?,
            };
        )*

        /// Every one of them.
        #[cfg(test)]
        pub(super) static ALL: &[&Kernel] = &[$(&$kernel),*];
    };
}

kernels! {
    CONV2D ConvParams "conv2d" (4 to 1) after "convolution";
    CONV2D_TILED ConvParams "conv2d_tiled" (4 to 1) after "convolution";
    CONV2D_SUBGROUP ConvParams "conv2d_subgroup" (4 to 1) after "convolution" needs SUBGROUP;
    DEPTHWISE ConvParams "depthwise" (4 to 1) after "convolution";
    MAX_POOL MaxPoolParams "max_pool" (1 to 1);
    TEMPORAL_SHIFT TemporalShiftParams "temporal_shift" (1 to 1);
    UNIT_LENGTH UnitLengthParams "unit_length" (1 to 1);
    TAKE_FRAMES TakeFramesParams "take_frames" (1 to 1);
    CORRELATION CorrelationParams "correlation" (2 to 1);
    MATCH_FRAMES MatchFramesParams "match_frames" (2 to 3);
    COMBINE CombineParams "combine" (2 to 1);
    CONCAT ConcatParams "concat" (2 to 1);
    PEAK PeakParams "peak" (1 to 1);
    MEAN MeanParams "mean" (1 to 1);
    RESIZE ResizeParams "resize" (3 to 1);
    NORMALISE NormaliseParams "normalise" (2 to 1);
    DISPLACEMENT_RGBA PictureParams "displacement_rgba" (3 to 1) after "picture";
    CONFIDENCE_RGBA PictureParams "confidence_rgba" (3 to 1) after "picture";
}

/// Constants that a pipeline is compiled for.
pub(super) type Constants = Vec<(&'static str, u32)>;

/// A kernel for one set of constants, ready to run.
#[derive(Clone)]
pub(super) struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
    pub(super) params_size: u64,
}

type Key = (&'static str, Constants);

/// What has been compiled, and what will be needed.
#[derive(Default)]
pub(super) struct Pipelines {
    pub(super) precision: Precision,
    modules: Mutex<HashMap<&'static str, wgpu::ShaderModule>>,
    made: Mutex<HashMap<Key, Pipeline>>,
    announced: Mutex<Vec<(&'static Kernel, Constants)>>,
}

impl Pipelines {
    pub(super) fn new(precision: Precision) -> Self {
        Self { precision, ..Self::default() }
    }

    /// A pipeline that will be needed; [`Self::make_announced`] makes it.
    pub(super) fn announce(&self, kernel: &'static Kernel, constants: Constants) {
        let mut announced = lock(&self.announced);
        if !announced.iter().any(|(other, same)| other.name == kernel.name && *same == constants) {
            announced.push((kernel, constants));
        }
    }

    /// Makes all that was announced: natively on all cores; in a browser the calls return at once and the browser
    /// compiles them beside each other.
    pub(super) fn make_announced(&self, device: &wgpu::Device) {
        let wanted = std::mem::take(&mut *lock(&self.announced));
        let make = |(kernel, constants): (&'static Kernel, Constants)| {
            self.get(device, kernel, &constants);
        };
        #[cfg(not(target_arch = "wasm32"))]
        {
            use rayon::prelude::*;
            wanted.into_par_iter().for_each(make);
        }
        #[cfg(target_arch = "wasm32")]
        wanted.into_iter().for_each(make);
    }

    /// The pipeline, made now if it was not yet.
    pub(super) fn get(
        &self,
        device: &wgpu::Device,
        kernel: &'static Kernel,
        constants: &Constants,
    ) -> Pipeline {
        let key = (kernel.name, constants.clone());
        if let Some(made) = lock(&self.made).get(&key) {
            return made.clone();
        }
        let module = lock(&self.modules)
            .entry(kernel.name)
            .or_insert_with(|| kernel.module(device, self.precision))
            .clone();
        let pipeline = kernel.pipeline(device, &module, constants);
        lock(&self.made).insert(key, pipeline.clone());
        pipeline
    }
}

impl Kernel {
    /// All of its source.
    fn text(&self, precision: Precision) -> String {
        format!("{}{}", precision.head(), self.source)
    }

    fn module(&self, device: &wgpu::Device, precision: Precision) -> wgpu::ShaderModule {
        device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(self.name),
            source: wgpu::ShaderSource::Wgsl(self.text(precision).into()),
        })
    }

    fn pipeline(
        &self,
        device: &wgpu::Device,
        module: &wgpu::ShaderModule,
        constants: &Constants,
    ) -> Pipeline {
        let entry = |binding: u32| {
            let (ty, has_dynamic_offset) = if binding == 0 {
                (wgpu::BufferBindingType::Uniform, true)
            } else {
                (wgpu::BufferBindingType::Storage { read_only: binding <= self.reads }, false)
            };
            let size = if binding == 0 { self.params_size } else { 16 };
            let ty = wgpu::BindingType::Buffer {
                ty,
                has_dynamic_offset,
                min_binding_size: wgpu::BufferSize::new(size),
            };
            wgpu::BindGroupLayoutEntry { binding, visibility: wgpu::ShaderStages::COMPUTE, ty, count: None }
        };
        let entries: Vec<_> = (0..=self.reads + self.writes).map(entry).collect();
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(self.name),
            entries: &entries,
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(self.name),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let constants: Vec<(&str, f64)> =
            constants.iter().map(|&(name, value)| (name, value.into())).collect();
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(self.name),
            layout: Some(&pipeline_layout),
            module,
            entry_point: Some(self.name),
            // Every kernel writes what it reads of its workgroup memory.
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        });
        Pipeline { pipeline, layout, params_size: self.params_size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use naga::valid::{Capabilities, ValidationFlags, Validator};

    fn parsed(kernel: &Kernel, precision: Precision) -> naga::Module {
        let text = kernel.text(precision);
        naga::front::wgsl::parse_str(&text)
            .unwrap_or_else(|error| panic!("{}: {}", kernel.name, error.emit_to_string(&text)))
    }

    fn check(module: &naga::Module, needs: wgpu::Features) -> Result<(), String> {
        let mut capabilities = Capabilities::empty();
        capabilities.set(Capabilities::SUBGROUP, needs.contains(wgpu::Features::SUBGROUP));
        capabilities.set(Capabilities::SHADER_FLOAT16, needs.contains(wgpu::Features::SHADER_F16));
        let mut validator = Validator::new(ValidationFlags::all(), capabilities);
        validator.validate(module).map(|_| ()).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn every_shader_is_valid_and_has_a_host() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shaders");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".wgsl")?.to_owned()))
            .collect();
        files.sort();
        let mut known: Vec<&str> = ALL.iter().map(|kernel| kernel.name).collect();
        known.sort_unstable();
        assert_eq!(files, known);
        for (kernel, precision) in ALL.iter().flat_map(|k| [(k, Precision::F32), (k, Precision::F16)]) {
            let module = parsed(kernel, precision);
            let needs = kernel.needs | precision.needs();
            check(&module, needs).unwrap_or_else(|error| panic!("{}: {error}", kernel.name));
            assert!(module.entry_points.iter().any(|entry| entry.name == kernel.name), "{}", kernel.name);
        }
    }

    #[test]
    fn a_spoilt_shader_is_noticed() {
        let source = MEAN.text(Precision::F32).replace("var sum = vec4f();", "var sum = 0u;");
        assert_ne!(source, MEAN.text(Precision::F32));
        let spoilt = naga::front::wgsl::parse_str(&source);
        assert!(spoilt.is_err() || check(&spoilt.unwrap(), MEAN.needs).is_err());
        // Nor may a shader use what its host does not ask for.
        assert!(check(&parsed(&CONV2D_SUBGROUP, Precision::F32), wgpu::Features::empty()).is_err());
    }

    /// The host's numbers lie where the shader reads them, and its buffers are bound as the host binds them.
    #[test]
    fn hosts_and_shaders_agree() {
        for kernel in ALL {
            let module = parsed(kernel, Precision::F32);
            let mut bindings: Vec<(u32, bool, bool)> = Vec::new();
            for (_, variable) in module.global_variables.iter() {
                let Some(binding) = &variable.binding else { continue };
                let (uniform, writes) = match variable.space {
                    naga::AddressSpace::Uniform => (true, false),
                    naga::AddressSpace::Storage { access } => {
                        (false, access.contains(naga::StorageAccess::STORE))
                    }
                    other => panic!("{}: {other:?}", kernel.name),
                };
                bindings.push((binding.binding, uniform, writes));
                if !uniform {
                    continue;
                }
                let naga::TypeInner::Struct { members, span } = &module.types[variable.ty].inner else {
                    panic!("{}: its numbers are no struct", kernel.name)
                };
                let names: Vec<(&str, usize)> =
                    members.iter().map(|m| (m.name.as_deref().unwrap(), m.offset as usize)).collect();
                assert_eq!(names, kernel.params, "{}", kernel.name);
                assert_eq!(u64::from(*span), kernel.params_size, "{}", kernel.name);
            }
            bindings.sort_unstable();
            let expected: Vec<_> =
                (0..=kernel.reads + kernel.writes).map(|i| (i, i == 0, i > kernel.reads)).collect();
            assert_eq!(bindings, expected, "{}", kernel.name);
        }
    }
}
