/**
 * Element types of the safetensors format, with their width in bits. The names and widths are those of the reference
 * implementation (safetensors 0.8, enum `Dtype`); which of them a model can run on is for `models` to say.
 */
const BITS = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const;

export type Dtype = keyof typeof BITS;

export const DTYPES = Object.keys(BITS) as readonly Dtype[];

export function isDtype(name: string): name is Dtype {
  return Object.hasOwn(BITS, name);
}

/** Width of one element in bits; 4 and 6 are packed without padding. */
export function bitsOf(dtype: Dtype): number {
  return BITS[dtype];
}

/**
 * Bytes that a tensor takes: bits(dtype) × product(shape) / 8. Null where that is no whole number of bytes, or where
 * a dimension is negative, or where the product, taken from the left as the reference does, passes 2^53 on the way (even
 * if a later dimension is 0).
 */
export function byteLength(dtype: Dtype, shape: readonly number[]): number | null {
  let elements = 1;
  for (const dimension of shape) {
    elements *= dimension;
    if (dimension < 0 || !Number.isSafeInteger(elements)) return null;
  }
  const bits = elements * BITS[dtype];
  return Number.isSafeInteger(bits) && bits % 8 === 0 ? bits / 8 : null;
}
