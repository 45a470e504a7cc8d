import { DeviceLostError, GpuError, NoAdapterError, OutOfMemoryError } from "../base/errors.ts";
import { Arena } from "./arena.ts";

/** What is worth knowing of an adapter, as plain data. */
export interface DeviceInfo {
  vendor: string;
  architecture: string;
  description: string;
  shaderF16: boolean;
  subgroups: boolean;
  /** Lanes of the smallest subgroup; 4, the least there is, where it is not known. */
  subgroupMinSize: number;
  /** WGSL has dot4I8Packed, unpack4xI8 and the like. */
  packedDot: boolean;
}

export interface OpenOptions {
  /** Use this device instead of asking for one. It is not destroyed on close. */
  device?: GPUDevice;
  /** Refuse allocations past this many bytes. */
  memoryBytes?: number;
  /** Ask for no other optional features than these: what a device without them would do. */
  features?: readonly GPUFeatureName[];
}

const FEATURES: readonly GPUFeatureName[] = ["shader-f16", "subgroups", "timestamp-query"];

const PACKED_DOT = "packed_4x8_integer_dot_product";

/** A loss makes calls fail a moment before it is told; only failures wait for this. */
const LOSS_MAY_FOLLOW_MS = 250;

/** Limits that are asked for as high as the adapter goes: everything else stays at the portable default. */
const LIMITS = ["maxBufferSize", "maxStorageBufferBindingSize"] as const;

/** Dawn's instance in Node. The process crashes if it is collected while a device lives, so it is kept for good. */
let dawn: GPU | undefined;

/** An open device, its accounting, and the first thing that went wrong on it. */
export class Gpu {
  readonly queue: GPUQueue;
  readonly arena: Arena;
  /** Commands sent since the device was opened, for `stats()` and for the tests that hold the budgets. */
  readonly counters = { dispatches: 0, submits: 0 };
  /** The first uncaptured error; once set, no result that came after it can be trusted. */
  failure: Error | undefined;
  private readonly owned: boolean;
  private closed = false;
  private readonly onUncaptured = (event: GPUUncapturedErrorEvent): void => {
    this.fail(
      event.error instanceof GPUOutOfMemoryError
        ? new OutOfMemoryError("A GPU command", 0)
        : new GpuError(event.error.message),
    );
  };
  private readonly onFailure: ((error: Error) => void)[] = [];

  constructor(
    readonly device: GPUDevice,
    readonly info: DeviceInfo,
    options: OpenOptions,
  ) {
    this.owned = options.device === undefined;
    this.queue = device.queue;
    this.arena = new Arena(device, options.memoryBytes);
    device.addEventListener("uncapturederror", this.onUncaptured as EventListener);
    void device.lost.then(({ reason, message }) => {
      if (!this.closed) this.fail(new DeviceLostError(reason, message));
    });
  }

  /** Calls back at once if the device has failed already. */
  whenFailed(callback: (error: Error) => void): void {
    if (this.failure) callback(this.failure);
    else this.onFailure.push(callback);
  }

  fail(error: Error): void {
    if (this.failure || this.closed) return;
    this.failure = error;
    for (const callback of this.onFailure.splice(0)) callback(error);
  }

  /**
   * What went wrong when a GPU call failed with `error`: the device's own word where it has one, since a lost device
   * makes other calls fail a moment before `device.lost` says so.
   */
  async explain(error: unknown): Promise<Error> {
    await Promise.race([this.device.lost, new Promise((resolve) => setTimeout(resolve, LOSS_MAY_FOLLOW_MS))]);
    return this.failure ?? (error instanceof Error ? error : new GpuError(String(error)));
  }

  /** Frees every tracked buffer, and the device when it is ours. */
  close(): void {
    this.closed = true;
    this.arena.freeAll();
    this.device.removeEventListener("uncapturederror", this.onUncaptured as EventListener);
    if (this.owned) this.device.destroy();
  }
}

/** Finds the adapter and opens a device with every optional feature that Tessera can use. */
export async function openGpu(options: OpenOptions = {}): Promise<Gpu> {
  if (options.device) {
    return new Gpu(options.device, describe(options.device.adapterInfo, options.device.features), options);
  }
  const adapter = await findAdapter();
  const requiredFeatures = (options.features ?? FEATURES).filter((f) => adapter.features.has(f));
  const requiredLimits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
  const device = await adapter.requestDevice({ label: "tessera", requiredFeatures, requiredLimits });
  return new Gpu(device, describe(adapter.info, device.features), options);
}

/** Bytes of the largest buffer of a device, or of the adapter that one would be asked of. Throws NoAdapterError. */
export async function largestBuffer(device?: GPUDevice): Promise<number> {
  return (device ?? (await findAdapter())).limits.maxBufferSize;
}

async function findAdapter(): Promise<GPUAdapter> {
  const isNode = typeof process !== "undefined" && Boolean(process.versions?.node) && typeof window === "undefined";
  const gpu = globalThis.navigator?.gpu ?? (isNode ? await loadDawn() : undefined);
  if (!gpu) {
    throw new NoAdapterError(
      "This browser has no WebGPU. Use Chrome or Edge 113+, Safari 26+ or Firefox 141+, over https or localhost.",
    );
  }
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter) return adapter;
  throw new NoAdapterError(
    isNode
      ? "No WebGPU adapter: install a Vulkan driver (Debian: apt-get install libvulkan1 mesa-vulkan-drivers, " +
          "Mesa 25 or newer), or name one with VK_DRIVER_FILES."
      : "WebGPU is here but found no GPU it may use. Update the graphics driver, or see chrome://gpu for the reason.",
  );
}

async function loadDawn(): Promise<GPU> {
  if (dawn) return dawn;
  // A variable keeps bundlers from following an import that only Node can make.
  const name = "webgpu";
  let loaded: { create(flags: string[]): GPU; globals: Record<string, unknown> };
  try {
    loaded = (await import(/* @vite-ignore */ name)) as typeof loaded;
  } catch (cause) {
    throw new NoAdapterError(`Node has no WebGPU: install the package "webgpu" (npm install webgpu). ${String(cause)}`);
  }
  for (const [key, value] of Object.entries(loaded.globals)) {
    if (!(key in globalThis)) Object.defineProperty(globalThis, key, { value, configurable: true, writable: true });
  }
  dawn = loaded.create([]);
  return dawn;
}

function describe(info: GPUAdapterInfo | undefined, features: GPUSupportedFeatures): DeviceInfo {
  return {
    vendor: info?.vendor ?? "",
    architecture: info?.architecture ?? "",
    description: info?.description || info?.device || "",
    shaderF16: features.has("shader-f16"),
    subgroups: features.has("subgroups"),
    subgroupMinSize: info?.subgroupMinSize || 4,
    // A device of unknown origin is Dawn's in Node, which has it.
    packedDot: (globalThis.navigator?.gpu ?? dawn)?.wgslLanguageFeatures.has(PACKED_DOT) ?? true,
  };
}
