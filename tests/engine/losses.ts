/**
 * Devices that a test can lose. Dawn has no call that loses a device, so a loss is staged: the real device is destroyed, after
 * which every call on it fails as after a loss, and only the reason that its `lost` gives is changed to "unknown". What
 * nobody staged, such as the engine's own `destroy`, keeps its reason. (tests/e2e/crash.test.ts has the real thing.) Node only.
 */
import { openGpu } from "../../src/gpu/device.ts";
import { watch, type WatchedDevice } from "./device.ts";

/** Where a device may be lost: after a submit or a write, as results begin to be read, as a pipeline begins to compile. */
export type Point = "submit" | "write" | "map" | "pipeline";

export interface LosableDevice extends Pick<WatchedDevice, "device" | "live"> {
  lose(): void;
}

/** Kept for good: Dawn crashes when it is collected while a device lives. */
let dawn: GPU | undefined;

async function openDawn(): Promise<GPU> {
  if (dawn) return dawn;
  (await openGpu()).close(); // puts WebGPU's classes into place
  const { create } = (await import("webgpu")) as { create(flags: string[]): GPU };
  dawn = create([]);
  return dawn;
}

/** `navigator.gpu` as the engine finds it, until `restore`. */
export class Losses {
  /** Every device that was asked for, in order. */
  readonly devices: LosableDevice[] = [];
  /** No adapter is found from now on. */
  gone = false;
  /** The next device refuses the buffer of this number. */
  failNextAt: number | undefined;
  /** The next device binds so many bytes at most. */
  bindNextBytes: number | undefined;
  /** When the last loss was staged, on the clock of `Date.now`. */
  lostAt = 0;
  private readonly armed: { point: Point; after: number }[] = [];

  private constructor(private readonly before: PropertyDescriptor | undefined) {}

  static async stage(): Promise<Losses> {
    const real = await openDawn();
    const losses = new Losses(Object.getOwnPropertyDescriptor(globalThis, "navigator"));
    const gpu = {
      wgslLanguageFeatures: real.wgslLanguageFeatures,
      requestAdapter: async (options?: GPURequestAdapterOptions) => {
        const adapter = losses.gone ? null : await real.requestAdapter(options);
        if (adapter) losses.hook(adapter);
        return adapter;
      },
    };
    Object.defineProperty(globalThis, "navigator", { value: { gpu }, configurable: true });
    return losses;
  }

  restore(): void {
    if (this.before) Object.defineProperty(globalThis, "navigator", this.before);
    else Reflect.deleteProperty(globalThis, "navigator");
  }

  /** The device of now. */
  get last(): LosableDevice {
    return this.devices.at(-1)!;
  }

  /** Loses whatever device comes to `point` after it was passed `after` times from now, or from the loss armed before. */
  arm(point: Point, after: number): void {
    this.armed.push({ point, after });
  }

  /** Losses that were armed and have not come about. */
  get pending(): number {
    return this.armed.length;
  }

  /** Buffers and bytes that live on any of the devices. */
  get live(): { buffers: number; bytes: number } {
    return this.devices.reduce(
      (sum, { live }) => ({ buffers: sum.buffers + live.buffers, bytes: sum.bytes + live.bytes }),
      { buffers: 0, bytes: 0 },
    );
  }

  private hook(adapter: GPUAdapter): void {
    const requestDevice = adapter.requestDevice.bind(adapter);
    adapter.requestDevice = async (descriptor) => {
      const device = await requestDevice(descriptor);
      let staged = false;
      const lose = (): void => {
        staged = true;
        this.lostAt = Date.now();
        device.destroy();
      };
      const lost = device.lost.then((info) => (staged ? { ...info, reason: "unknown", message: "staged" } : info));
      Object.defineProperty(device, "lost", { value: lost });
      const { live, failAt } = watch(device);
      if (this.failNextAt !== undefined) failAt(this.failNextAt);
      this.failNextAt = undefined;
      if (this.bindNextBytes !== undefined) limitBindings(device, this.bindNextBytes);
      this.bindNextBytes = undefined;
      this.devices.push({ device, live, lose });
      this.instrument(device, () => !staged, lose);
      return device;
    };
  }

  private instrument(device: GPUDevice, alive: () => boolean, lose: () => void): void {
    const after = <T>(point: Point, result: T): T => {
      const [next] = this.armed;
      if (alive() && next?.point === point && next.after-- === 0) {
        this.armed.shift();
        lose();
      }
      return result;
    };
    const { queue } = device;
    const submit = queue.submit.bind(queue);
    const createBuffer = device.createBuffer.bind(device);
    const createPipeline = device.createComputePipelineAsync.bind(device);
    Object.defineProperty(device, "queue", { value: queue });
    const write = queue.writeBuffer.bind(queue) as (...args: unknown[]) => undefined;
    queue.submit = (buffers) => after("submit", submit(buffers));
    queue.writeBuffer = (...args: unknown[]) => after("write", write(...args));
    device.createComputePipelineAsync = (descriptor) => after("pipeline", createPipeline(descriptor));
    device.createBuffer = (descriptor) => {
      const buffer = createBuffer(descriptor);
      const mapAsync = buffer.mapAsync.bind(buffer);
      buffer.mapAsync = (...args) => after("map", mapAsync(...args));
      return buffer;
    };
  }
}

function limitBindings(device: GPUDevice, maxStorageBufferBindingSize: number): void {
  const { limits } = device;
  const get = (_: GPUSupportedLimits, name: keyof GPUSupportedLimits): unknown =>
    name === "maxStorageBufferBindingSize" ? maxStorageBufferBindingSize : limits[name];
  Object.defineProperty(device, "limits", { value: new Proxy(limits, { get: get as ProxyHandler<object>["get"] }) });
}
