import { eachSound, itself } from '../base/sound.ts';

/** Records are replaced, never edited: the bytes of one stay true as long as it does. */
const known = new WeakMap<object, Buffer>();

/** Field 1, length-delimited: where CRI's list answers have their items (protobuf encoding, "message structure"). */
const itemTag = 0x0a;
/** Of one message of a streamed list: well below the 4 MiB that clients take without being told otherwise. */
const batchBytes = 1024 * 1024;

type Codec<M> = { encode(message: M): { finish(): Uint8Array } };
type Record = { readonly id: string };

/**
 * The items of a list on the wire, one for each record that can be encoded. kubelet asks for the same lists every second:
 * what did not change is not encoded again.
 */
export const recordItems = <T extends Record, M>(records: readonly T[], codec: Codec<M>, encode: (record: T) => M) =>
  eachSound(records, itself, (record) => {
    const bytes = known.get(record) ?? item(codec, encode(record));
    known.set(record, bytes);
    return bytes;
  });

/** One item of a list on the wire. */
export function item<M>(codec: Codec<M>, message: M): Buffer {
  const bytes = codec.encode(message).finish();
  return Buffer.concat([Buffer.from([itemTag, ...varint(bytes.length)]), bytes]);
}

/** The items as one answer. */
export const listBytes = (items: readonly Buffer[]): Buffer => Buffer.concat(items);

/** The items in several answers; no items give none. */
export function* batches(items: readonly Buffer[]): Generator<Buffer> {
  let batch: Buffer[] = [];
  let bytes = 0;
  for (const each of items) {
    if (batch.length > 0 && bytes + each.length > batchBytes) {
      yield Buffer.concat(batch);
      batch = [];
      bytes = 0;
    }
    batch.push(each);
    bytes += each.length;
  }
  if (batch.length > 0) yield Buffer.concat(batch);
}

function varint(value: number): number[] {
  const low = value & 0x7f;
  return value > 0x7f ? [low | 0x80, ...varint(value >>> 7)] : [low];
}

type Call = { readonly responseSerialize: (value: never) => Buffer };

/** The service with every answer that comes as bytes sent as it is. */
export function takingBytes<S extends Readonly<{ [call: string]: Call }>>(service: S): S {
  const changed = Object.entries(service).map(([name, call]) => {
    const serialize = (value: unknown) => (Buffer.isBuffer(value) ? value : call.responseSerialize(value as never));
    return [name, { ...call, responseSerialize: serialize }];
  });
  return Object.fromEntries(changed) as S;
}
