import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Duplex } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import { dictionary, dictionaryId } from '../../../src/streaming/spdy-dictionary.ts';
import { control, dataHead, type Frame, FrameParser, frameTypes } from '../../../src/streaming/spdy-frames.ts';
import { HeaderReader, HeaderWriter, ProtocolError } from '../../../src/streaming/spdy-headers.ts';
import { SpdySession, type SpdyStream } from '../../../src/streaming/spdy-session.ts';

const hex = (text_: string): Buffer => Buffer.from(text_.replaceAll(' ', ''), 'hex');

/** Three header blocks of one connection, as zlib (the C library) compresses and flushes them with SPDY/3's dictionary. */
const zlibBlocks = [
  '78f9e3c6a7c202253a703a2b294a4dcc851625aca9a0808614cb45e01c6061606100a4398b20d198094ade8c0600000000ffff',
  'c2aa19540e2512d60b000000ffff',
  '02c990a9d7104be9c785083600000000ffff',
];

/** RFC 1950, section 8.2. */
function adler32(bytes: Buffer): number {
  let [a, b] = [1, 0];
  for (const byte of bytes) {
    a = (a + byte) % 65_521;
    b = (b + a) % 65_521;
  }
  return b * 65_536 + a;
}

describe('header blocks', () => {
  test('the dictionary is the one of the specification', () => {
    assert.equal(dictionary.length, 1423);
    assert.equal(adler32(dictionary), dictionaryId);
  });

  test('blocks of zlib are read, each with what came before', () => {
    const reader = new HeaderReader();
    const read = zlibBlocks.map((block) => Object.fromEntries(reader.read(hex(block))));
    assert.deepEqual(read, [
      { streamtype: 'error', port: '8080', requestid: '0' },
      { streamtype: 'data', port: '8080', requestid: '0' },
      { streamtype: 'data', port: '8080', requestid: '1', 'content-type': 'text/plain' },
    ]);
  });

  test('a block without a dictionary is read', () => {
    const block = hex('78da626060606400e244109104000000ffff');
    assert.deepEqual([...new HeaderReader().read(block)], [['a', 'b']]);
  });

  test('what is written ends as a flush does, and is read back', () => {
    const writer = new HeaderWriter();
    const reader = new HeaderReader();
    for (const headers of [new Map(), new Map([['streamtype', 'stdin']]), new Map([['a', 'b'.repeat(9000)]])]) {
      const block = writer.write(headers);
      assert.equal(block.subarray(-5).toString('hex'), '000000ffff');
      assert.deepEqual(reader.read(block), headers);
    }
  });

  const bomb = () => Buffer.concat([hex('7801'), deflateRawSync(Buffer.alloc(1 << 20))]);
  const bad: { name: string; block: Buffer }[] = [
    { name: 'empty', block: Buffer.alloc(0) },
    { name: 'no zlib', block: Buffer.from('no zlib stream') },
    { name: 'another dictionary', block: hex('7820 01020304 00') },
    { name: 'a cut dictionary id', block: hex('7820 0102') },
    { name: 'more headers than bytes', block: hex('7801 00 0400 fbff 00000009') },
    { name: 'too many headers', block: hex('7801 00 0400 fbff ffffffff') },
    { name: 'a name beyond the block', block: hex('7801 00 0800 f7ff 00000001 7fffffff') },
    { name: 'no count', block: hex('7801 00 0000 ffff') },
    { name: 'more than 64 KiB', block: bomb() },
    { name: 'deflate of a reserved type', block: hex('7801 07') },
  ];
  for (const { name, block } of bad) {
    test(`refused: ${name}`, () => assert.throws(() => new HeaderReader().read(block), ProtocolError));
  }
});

describe('frames', () => {
  const golden: { name: string; bytes: string; frames: Frame[] }[] = [
    {
      name: 'SYN_STREAM',
      bytes: '80030001 0100000c 00000003 00000000 0000 abcd',
      frames: [{ type: 'open', stream: 3, fin: true, block: hex('abcd') }],
    },
    {
      name: 'SYN_REPLY',
      bytes: '80030002 00000005 80000003 ff',
      frames: [{ type: 'headers', stream: 3, fin: false, block: hex('ff') }],
    },
    {
      name: 'RST_STREAM',
      bytes: '80030003 00000008 00000005 00000003',
      frames: [{ type: 'reset', stream: 5, status: 3 }],
    },
    { name: 'SETTINGS', bytes: '80030004 0000000c 00000001 00000004 00010000', frames: [] },
    { name: 'PING', bytes: '80030006 00000004 fffffff1', frames: [{ type: 'ping', id: 0xfffffff1 }] },
    { name: 'GOAWAY', bytes: '80030007 00000008 00000000 00000000', frames: [{ type: 'goAway' }] },
    {
      name: 'HEADERS',
      bytes: '80030008 01000004 00000003',
      frames: [{ type: 'headers', stream: 3, fin: true, block: hex('') }],
    },
    { name: 'WINDOW_UPDATE', bytes: '80030009 00000008 00000003 00001000', frames: [] },
    {
      name: 'data',
      bytes: '00000003 00000002 6869',
      frames: [{ type: 'data', stream: 3, fin: false, chunk: hex('6869') }],
    },
    { name: 'the end', bytes: '00000003 01000000', frames: [{ type: 'data', stream: 3, fin: true, chunk: hex('') }] },
  ];
  for (const { name, bytes, frames } of golden) {
    test(name, () => assert.deepEqual([...new FrameParser().push(hex(bytes))], frames));
  }

  test('whatever the cuts, control frames come whole and data comes in order', () => {
    const all = hex(golden.map(({ bytes }) => bytes).join(''));
    const whole = [...new FrameParser().push(all)];
    for (let size = 1; size < 24; size++) {
      const parser = new FrameParser();
      const frames: Frame[] = [];
      for (let at = 0; at < all.length; at += size) frames.push(...parser.push(all.subarray(at, at + size)));
      const merged = frames.filter((frame, i) => {
        const next = frames[i + 1];
        return !(
          frame.type === 'data' &&
          !frame.fin &&
          frame.chunk.length === 1 &&
          next?.type === 'data' &&
          next.chunk.length === 1 &&
          next.stream === frame.stream
        );
      });
      assert.deepEqual(
        merged.map(({ type }) => type),
        whole.map(({ type }) => type),
        `pieces of ${size}`,
      );
      const data = frames.flatMap((frame) => (frame.type === 'data' ? [frame.chunk] : []));
      assert.equal(Buffer.concat(data).toString(), 'hi');
    }
  });

  const bad: { name: string; bytes: string }[] = [
    { name: 'another version', bytes: '80020001 00000000' },
    { name: 'a control frame of 64 KiB and one byte', bytes: '80030001 00010001' },
    { name: 'SYN_STREAM without its fields', bytes: '80030001 00000004 00000001' },
    { name: 'RST_STREAM without its status', bytes: '80030003 00000004 00000001' },
    { name: 'PING without a number', bytes: '80030006 00000000' },
  ];
  for (const { name, bytes } of bad) {
    test(`refused: ${name}`, () => assert.throws(() => [...new FrameParser().push(hex(bytes))], ProtocolError));
  }

  test('what is written is what the draft says', () => {
    assert.equal(control(frameTypes.reset, 5, 3).toString('hex'), '80030003000000080000000500000003');
    assert.equal(dataHead(3, 0x010203, true).toString('hex'), '0000000301010203');
    assert.throws(() => dataHead(3, 1 << 24, false), RangeError);
  });
});

/** A session, and its peer: what the session writes is collected, what is pushed is what it reads. */
function session() {
  const sent: Buffer[] = [];
  const streams: SpdyStream[] = [];
  const transport = new Duplex({
    read: () => {},
    write: (chunk: Buffer, _, done) => {
      sent.push(chunk);
      done();
    },
  });
  const spdy = new SpdySession(transport, (stream) => streams.push(stream));
  const headers = new HeaderWriter();
  const open = (id: number) =>
    transport.push(control(frameTypes.synStream, id, 0, hex('0000'), headers.write(new Map([['n', String(id)]]))));
  const frames = () => [...new FrameParser().push(Buffer.concat(sent))];
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  return { transport, spdy, streams, open, frames, turn };
}

describe('sessions', () => {
  test('a stream is answered, carries both ways and half-closes each by itself', async () => {
    const { transport, streams, open, frames, turn } = session();
    open(1);
    transport.push(Buffer.concat([dataHead(1, 2, false), Buffer.from('in'), dataHead(1, 0, true)]));
    await turn();
    const [{ duplex, headers }] = streams as [SpdyStream];
    assert.equal(headers.get('n'), '1');
    let incoming = '';
    duplex.on('data', (chunk) => {
      incoming += chunk;
    });
    await once(duplex, 'end');
    assert.equal(incoming, 'in');
    duplex.end('out');
    await once(duplex, 'close');
    assert.deepEqual(
      frames().map((frame) => (frame.type === 'data' ? `${frame.chunk}${frame.fin ? '.' : ''}` : frame.type)),
      ['headers', 'out', '.'],
    );
  });

  test('a reset ends one stream, and is not answered; the others go on', async () => {
    const { transport, streams, open, frames, turn } = session();
    open(1);
    open(3);
    await turn();
    transport.push(control(frameTypes.reset, 1, 5));
    await turn();
    assert.deepEqual([streams[0]!.duplex.destroyed, streams[1]!.duplex.destroyed], [true, false]);
    streams[1]!.duplex.destroy();
    await turn();
    assert.deepEqual(
      frames().flatMap((frame) => (frame.type === 'reset' ? [frame.stream] : [])),
      [3],
    );
  });

  test('nobody reads a stream: the connection is read no further until somebody does', async () => {
    const { transport, streams, open, turn } = session();
    open(1);
    const block = Buffer.alloc(1 << 16);
    for (let i = 0; i < 40; i++) transport.push(Buffer.concat([dataHead(1, block.length, false), block]));
    transport.push(dataHead(1, 0, true));
    await turn();
    const [{ duplex }] = streams as [SpdyStream];
    assert.ok(transport.isPaused());
    assert.ok(duplex.readableLength <= 1.2 * 1024 * 1024, `${duplex.readableLength} bytes wait`);
    assert.equal((await buffer(duplex)).length, 40 << 16);
  });

  const violations: { name: string; ids: number[] }[] = [
    { name: 'an even stream', ids: [2] },
    { name: 'a stream that was there', ids: [1, 1] },
    { name: 'a stream before another', ids: [3, 1] },
  ];
  for (const { name, ids } of violations) {
    test(`${name} ends the connection with GOAWAY`, async () => {
      const { spdy, open, frames } = session();
      for (const id of ids) open(id);
      await spdy.closed;
      assert.equal(frames().at(-1)?.type, 'goAway');
    });
  }

  test('the end of the transport ends every stream', async () => {
    const { transport, spdy, streams, open, turn } = session();
    open(1);
    await turn();
    transport.push(null);
    await spdy.closed;
    assert.ok(streams[0]!.duplex.destroyed);
  });
});
