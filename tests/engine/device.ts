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
  /** The n-th buffer asked for from now on (0 is the next) is refused. */
  failAt(n: number): void;
}

export async function watchedDevice(): Promise<WatchedDevice> {
  const { device } = await openGpu();
  const live = { buffers: 0, bytes: 0 };
  let created = 0;
  let creations = 0;
  let failure = -1;
  const createBuffer = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    creations++;
    if (created++ === failure) throw new RangeError("no room for this buffer");
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
    failAt(n) {
      failure = created + n;
    },
  };
}
