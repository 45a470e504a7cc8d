// The least of ONNX that a graph of one operation needs: protobuf written by hand (onnx.proto3, IR version 10, opset 21).

export const FLOAT = 1;
export const UINT8 = 2;
export const INT32 = 6;

/** A protobuf message under construction. */
class Message {
  /** @type {number[]} */
  bytes = [];

  /** @param {number} value */
  varint(value) {
    for (; value > 127; value = Math.floor(value / 128)) this.bytes.push((value % 128) | 128);
    this.bytes.push(value);
    return this;
  }

  /** @param {number} field @param {number} value */
  int(field, value) {
    return this.varint(field * 8).varint(value);
  }

  /** @param {number} field @param {number} value */
  float(field, value) {
    this.varint(field * 8 + 5);
    this.bytes.push(...new Uint8Array(new Float32Array([value]).buffer));
    return this;
  }

  /** @param {number} field @param {string | Uint8Array | Message} content */
  put(field, content) {
    const bytes =
      content instanceof Message
        ? content.bytes
        : typeof content === "string"
          ? new TextEncoder().encode(content)
          : content;
    this.varint(field * 8 + 2).varint(bytes.length);
    for (const byte of bytes) this.bytes.push(byte); // spread would overflow the stack
    return this;
  }
}

/** @param {string} name @param {number} type @param {readonly (number | string)[]} dims */
function valueInfo(name, type, dims) {
  const shape = new Message();
  for (const dim of dims) shape.put(1, typeof dim === "string" ? new Message().put(2, dim) : new Message().int(1, dim));
  const tensor = new Message().int(1, type).put(2, shape);
  return new Message().put(1, name).put(2, new Message().put(1, tensor));
}

/**
 * A model of one node of com.microsoft.
 * @param {object} graph
 * @param {string} graph.op @param {Record<string, number | { float: number }>} graph.attributes
 * @param {[name: string, type: number, dims: (number | string)[]][]} graph.inputs in the node's order, "" for none
 * @param {[name: string, type: number, dims: number[], data: Uint8Array][]} graph.constants after the inputs
 * @param {[name: string, type: number, dims: (number | string)[]][]} graph.outputs
 */
export function modelOf({ op, attributes, inputs, constants, outputs }) {
  const node = new Message();
  for (const [name] of [...inputs, ...constants]) node.put(1, name);
  for (const [name] of outputs) node.put(2, name);
  node.put(3, op).put(4, op);
  for (const [name, value] of Object.entries(attributes)) {
    const attribute = new Message().put(1, name);
    if (typeof value === "number") attribute.int(3, value).int(20, 2);
    else attribute.float(2, value.float).int(20, 1);
    node.put(5, attribute);
  }
  node.put(7, "com.microsoft");
  const graph = new Message().put(1, node).put(2, "peer");
  for (const [name, type, dims, data] of constants) {
    const tensor = new Message();
    for (const dim of dims) tensor.int(1, dim);
    graph.put(5, tensor.int(2, type).put(8, name).put(9, data));
  }
  for (const input of inputs) graph.put(11, valueInfo(...input));
  for (const output of outputs) graph.put(12, valueInfo(...output));
  const opset = (/** @type {string} */ domain, /** @type {number} */ version) =>
    new Message().put(1, domain).int(2, version);
  const model = new Message().int(1, 10).put(2, "tessera-peers").put(7, graph);
  return Uint8Array.from(model.put(8, opset("", 21)).put(8, opset("com.microsoft", 1)).bytes);
}
