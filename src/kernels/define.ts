import { invariant } from "../base/assert.ts";
import { GpuError } from "../base/errors.ts";
import { BATCH_WGSL } from "./batch.ts";

/** How a kernel sees a buffer: `read` wherever it only reads (kernels.md §1.3). */
export interface Binding {
  readonly name: string;
  readonly access: "read" | "read_write";
  /** The WGSL type, for instance `array<vec4f>`. */
  readonly type: string;
}

/**
 * A kernel is its WGSL and, written once here and generated into a prelude, its parameters and binding order:
 * binding 0 is the uniform `params`, binding 1 the uniform `batch`, from 2 on the storage buffers.
 */
export interface KernelSource {
  readonly name: string;
  readonly wgsl: string;
  /** WGSL extensions that this variant needs; only where the device has them (`Tuning`). */
  readonly enables?: readonly ("f16" | "subgroups")[];
  /** Shared pieces that come before the kernel; the first part of a key names which were chosen. */
  readonly fragments?: readonly string[];
  readonly params: Readonly<Record<string, "u32" | "f32">>;
  readonly bindings: readonly Binding[];
  /** Numbers and switches baked into this variant. Only checked numbers ever get here, no text of a checkpoint. */
  readonly constants?: Readonly<Record<string, number | boolean>>;
}

/** One variant of a kernel, to be compiled with all the others before the first step that takes it. */
export interface Kernel {
  readonly source: KernelSource;
  readonly layout: GPUBindGroupLayout;
  /** Throws while the pipeline is not there yet: a step never compiles. */
  readonly compiled: GPUComputePipeline;
}

/** All pipelines of one device: asked for one by one while programs are recorded, compiled together. */
export class Pipelines {
  private readonly kernels = new Map<string, KernelEntry>();

  constructor(private readonly device: GPUDevice) {}

  get size(): number {
    return this.kernels.size;
  }

  /** The kernel of this source; the same source gives the same kernel. */
  get(source: KernelSource): Kernel {
    const code = composeWgsl(source);
    let entry = this.kernels.get(code);
    if (!entry) {
      entry = new KernelEntry(source, code, bindGroupLayout(this.device, source));
      this.kernels.set(code, entry);
    }
    return entry;
  }

  /** All but these. */
  without(some: ReadonlySet<Kernel>): Kernel[] {
    return [...this.kernels.values()].filter((kernel) => !some.has(kernel));
  }

  /** Compiles what of `kernels` is not compiled yet, all at once. A shader error is thrown with its source line. */
  async compile(
    onCompiled?: (done: number, total: number) => void,
    kernels: Iterable<Kernel> = this.kernels.values(),
  ): Promise<void> {
    const pending = [...new Set(kernels as Iterable<KernelEntry>)].filter((kernel) => !kernel.pipeline);
    let done = 0;
    const results = await Promise.allSettled(
      pending.map(async (kernel) => {
        await kernel.compile(this.device);
        onCompiled?.(++done, pending.length);
      }),
    );
    const failed = results.find((r) => r.status === "rejected");
    if (failed) throw failed.reason;
  }
}

class KernelEntry implements Kernel {
  pipeline: GPUComputePipeline | undefined;

  constructor(
    readonly source: KernelSource,
    private readonly code: string,
    readonly layout: GPUBindGroupLayout,
  ) {}

  get compiled(): GPUComputePipeline {
    invariant(this.pipeline, `kernel ${this.source.name} is used before it was compiled`);
    return this.pipeline;
  }

  async compile(device: GPUDevice): Promise<void> {
    const label = this.source.name;
    // The scope keeps a shader error out of the device's uncaught ones: it is thrown below, with its source line.
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ label, code: this.code });
    void device.popErrorScope();
    try {
      this.pipeline = await device.createComputePipelineAsync({
        label,
        layout: device.createPipelineLayout({ label, bindGroupLayouts: [this.layout] }),
        compute: { module, entryPoint: "main" },
      });
    } catch (cause) {
      const info = await module.getCompilationInfo().catch(() => undefined);
      throw new GpuError(explain(label, this.code, info) ?? `kernel ${label}: ${String(cause)}`, { cause });
    }
  }
}

/** The kernel's whole WGSL: prelude, fragments, kernel, in that order. */
export function composeWgsl(source: KernelSource): string {
  const params = Object.entries(source.params).map(([name, type]) => `  ${name}: ${type},`);
  const constants = Object.entries(source.constants ?? {}).map(([name, value]) =>
    typeof value === "boolean" ? `const ${name}: bool = ${value};` : `const ${name}: u32 = ${wgslU32(name, value)};`,
  );
  const bindings = source.bindings.map(
    ({ name, access, type }, i) => `@group(0) @binding(${i + 2}) var<storage, ${access}> ${name}: ${type};`,
  );
  return [
    `// ${source.name}`,
    ...(source.enables ?? []).map((extension) => `enable ${extension};`),
    BATCH_WGSL,
    // A struct must have a member, and a uniform binding at least 16 bytes.
    `struct Params {\n${params.join("\n") || "  none: u32,"}\n}`,
    "@group(0) @binding(0) var<uniform> params: Params;",
    "@group(0) @binding(1) var<uniform> batch: Batch;",
    ...constants,
    ...bindings,
    ...(source.fragments ?? []),
    source.wgsl,
  ].join("\n");
}

/** The params of one dispatch as bytes, in the order of the declaration; 4 bytes each. */
export function packParams(source: KernelSource, values: Readonly<Record<string, number>>): ArrayBuffer {
  const names = Object.keys(source.params);
  const view = new DataView(new ArrayBuffer(Math.max(16, names.length * 4)));
  names.forEach((name, i) => {
    const value = values[name];
    invariant(value !== undefined, `kernel ${source.name}: parameter ${name} is not given`);
    if (source.params[name] === "f32") view.setFloat32(i * 4, value, true);
    else view.setUint32(i * 4, wgslU32(name, value), true);
  });
  invariant(Object.keys(values).length === names.length, `kernel ${source.name}: parameters it does not have`);
  return view.buffer;
}

function wgslU32(name: string, value: number): number {
  invariant(Number.isInteger(value) && value >= 0 && value < 2 ** 32, `${name} = ${value} is not a u32`);
  return value;
}

function bindGroupLayout(device: GPUDevice, source: KernelSource): GPUBindGroupLayout {
  const types: GPUBufferBindingType[] = [
    "uniform",
    "uniform",
    ...source.bindings.map((b) => (b.access === "read" ? "read-only-storage" : "storage") as GPUBufferBindingType),
  ];
  invariant(source.bindings.length <= 8, `kernel ${source.name} binds more than 8 storage buffers`);
  return device.createBindGroupLayout({
    label: source.name,
    entries: types.map((type, binding) => ({ binding, visibility: 4 /* COMPUTE */, buffer: { type } })),
  });
}

/** The compiler's messages, each with the line it speaks of. */
function explain(label: string, code: string, info: GPUCompilationInfo | undefined): string | undefined {
  const errors = info?.messages.filter((m) => m.type === "error") ?? [];
  if (errors.length === 0) return undefined;
  const lines = code.split("\n");
  return errors
    .map((m) => `kernel ${label}, line ${m.lineNum}: ${m.message}\n  ${lines[m.lineNum - 1]?.trim() ?? ""}`)
    .join("\n");
}
