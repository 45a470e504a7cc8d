import { openGpu } from "../../src/gpu/device.ts";

/** A device of the test's own whose buffers are counted and whose allocations can be made to fail. */
export interface WatchedDevice {
  readonly device: GPUDevice;
  /** Buffers created and not destroyed, and their bytes. */
  readonly live: { buffers: number; bytes: number };
  /** Buffers asked for so far. */
  readonly created: number;
  /** Calls of `create*` and `importExternalTexture` of any kind, command encoders not counted. */
  readonly creations: number;
  /**
   * The n-th buffer asked for from now on (0 is the next) is refused: by an exception, as where a size cannot even be
   * mapped, or by the error scope around it, as where the driver has no room.
   */
  failAt(n: number, how?: "throw" | "scope"): void;
}

export async function watchedDevice(): Promise<WatchedDevice> {
  return watch((await openGpu()).device);
}

/** Counts what is made on a device from now on. */
export function watch(device: GPUDevice): WatchedDevice {
  const live = { buffers: 0, bytes: 0 };
  let created = 0;
  let creations = 0;
  let failure = -1;
  let mode: "throw" | "scope" = "throw";
  let refused = false;
  const createBuffer = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    creations++;
    refused = created++ === failure && mode === "scope";
    if (created - 1 === failure && mode === "throw") throw new RangeError("no room for this buffer");
    const buffer = createBuffer(descriptor);
    const destroy = buffer.destroy.bind(buffer);
    live.buffers++;
    live.bytes += descriptor.size;
    let destroyed = false;
    buffer.destroy = () => {
      if (!destroyed) {
        live.buffers--;
        live.bytes -= descriptor.size;
      }
      destroyed = true;
      return destroy();
    };
    return buffer;
  };
  const popErrorScope = device.popErrorScope.bind(device);
  device.popErrorScope = async () => {
    const error = refused ? ({ message: "no room for this buffer" } as GPUOutOfMemoryError) : null;
    refused = false;
    return (await popErrorScope()) ?? error;
  };
  for (const name of [
    "createBindGroup",
    "createShaderModule",
    "createPipelineLayout",
    "createBindGroupLayout",
  ] as const) {
    const original = (device[name] as (descriptor: never) => unknown).bind(device);
    Object.defineProperty(device, name, {
      value: (descriptor: never) => {
        creations++;
        return original(descriptor);
      },
    });
  }
  return {
    device,
    live,
    get created() {
      return created;
    },
    get creations() {
      return creations;
    },
    failAt(n, how = "throw") {
      failure = created + n;
      mode = how;
    },
  };
}
