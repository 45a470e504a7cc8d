// The least of ONNX that these graphs need: protobuf written by hand (onnx.proto3, IR version 10, opset 21).

export const FLOAT = 1;
export const UINT8 = 2;
export const INT32 = 6;
export const INT64 = 7;

/** Operators that are not ONNX's own. */
const CONTRIB = "com.microsoft";
const CONTRIB_OPS = new Set(["MatMulNBits", "GroupQueryAttention", "SkipSimplifiedLayerNormalization"]);

/** A protobuf message under construction: pieces that are joined at the end, so that weights are copied once. */
class Message {
  /** @type {Uint8Array[]} */
  pieces = [];
  length = 0;

  /** @param {Uint8Array} piece */
  add(piece) {
    this.pieces.push(piece);
    this.length += piece.length;
    return this;
  }

  /** @param {number} value */
  varint(value) {
    const bytes = [];
    for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
    return this.add(Uint8Array.of(...bytes, value));
  }

  /** @param {number} field @param {number} value */
  int(field, value) {
    return this.varint(field * 8).varint(value);
  }

  /** @param {number} field @param {number} value */
  float(field, value) {
    return this.varint(field * 8 + 5).add(new Uint8Array(new Float32Array([value]).buffer));
  }

  /** @param {number} field @param {string | Uint8Array | Message} content */
  put(field, content) {
    const value = typeof content === "string" ? new TextEncoder().encode(content) : content;
    this.varint(field * 8 + 2).varint(value.length);
    if (!(value instanceof Message)) return this.add(value);
    for (const piece of value.pieces) this.add(piece);
    return this;
  }

  join() {
    const bytes = new Uint8Array(this.length);
    let at = 0;
    for (const piece of this.pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }
}

/** @typedef {[name: string, type: number, dims: (number | string)[]]} Value */
/** @typedef {[name: string, type: number, dims: number[], data: Uint8Array]} Constant */
/**
 * @typedef {object} Node "" among inputs or outputs: that one is left out
 * @property {string} op @property {string[]} inputs @property {string[]} outputs
 * @property {Record<string, number | { float: number }>} [attributes]
 */

/** @param {Value} value */
function valueInfo([name, type, dims]) {
  const shape = new Message();
  for (const dim of dims) shape.put(1, typeof dim === "string" ? new Message().put(2, dim) : new Message().int(1, dim));
  const tensor = new Message().int(1, type).put(2, shape);
  return new Message().put(1, name).put(2, new Message().put(1, tensor));
}

/** @param {Node} node */
function nodeOf({ op, inputs, outputs, attributes = {} }) {
  const node = new Message();
  for (const name of inputs) node.put(1, name);
  for (const name of outputs) node.put(2, name);
  node.put(3, `${op} ${outputs[0]}`).put(4, op);
  for (const [name, value] of Object.entries(attributes)) {
    const attribute = new Message().put(1, name);
    if (typeof value === "number") attribute.int(3, value).int(20, 2);
    else attribute.float(2, value.float).int(20, 1);
    node.put(5, attribute);
  }
  return CONTRIB_OPS.has(op) ? node.put(7, CONTRIB) : node;
}

/** @param {{ nodes: Node[], inputs: Value[], constants: Constant[], outputs: Value[] }} parts nodes in the order they run */
export function graphOf({ nodes, inputs, constants, outputs }) {
  const graph = new Message();
  for (const node of nodes) graph.put(1, nodeOf(node));
  graph.put(2, "peer");
  for (const [name, type, dims, data] of constants) {
    const tensor = new Message();
    for (const dim of dims) tensor.int(1, dim);
    graph.put(5, tensor.int(2, type).put(8, name).put(9, data));
  }
  for (const input of inputs) graph.put(11, valueInfo(input));
  for (const output of outputs) graph.put(12, valueInfo(output));
  const opset = (/** @type {string} */ domain, /** @type {number} */ version) =>
    new Message().put(1, domain).int(2, version);
  const model = new Message().int(1, 10).put(2, "tessera-peers").put(7, graph);
  return model.put(8, opset("", 21)).put(8, opset(CONTRIB, 1)).join();
}

/**
 * A model of one node.
 * @param {object} graph
 * @param {string} graph.op @param {Record<string, number | { float: number }>} graph.attributes
 * @param {Value[]} graph.inputs in the node's order, "" for none
 * @param {Constant[]} graph.constants after the inputs
 * @param {Value[]} graph.outputs
 */
export function modelOf({ op, attributes, inputs, constants, outputs }) {
  const names = (/** @type {(Value | Constant)[]} */ list) => list.map(([name]) => name);
  const node = { op, attributes, inputs: names([...inputs, ...constants]), outputs: names(outputs) };
  return graphOf({ nodes: [node], inputs, constants, outputs });
}
